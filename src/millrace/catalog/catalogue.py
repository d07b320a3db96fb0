"""The catalogue: what is on offer, by name."""

from collections.abc import Iterable, Sequence
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model

NAMES_SHOWN_MAX: Final = 20
"""Names in one refusal: enough to find the typing error, not a page; GET /v1/models has them all."""


class Catalogue:
    """The models on offer, in the order they were declared. Never changes."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.models: Final = tuple(models)
        self._by_name = {model.name: model for model in self.models}
        if len(self._by_name) != len(self.models):
            raise ValueError(f"a model is on offer twice: {sorted(model.name for model in self.models)}")

    def find(self, name: str) -> Model:
        """The model of that name. Raises MODEL_NOT_FOUND, which names what there is."""
        model = self.get(name)
        if model is None:
            raise unknown(name, [model.name for model in self.models])
        return model

    def get(self, name: str) -> Model | None:
        """The model of that name; None where there is none."""
        return self._by_name.get(name)

    def visible(self, allowed: frozenset[str] | None) -> tuple[Model, ...]:
        """What a key may see: all, or those of the names it is limited to."""
        return self.models if allowed is None else tuple(model for model in self.models if model.name in allowed)


def unknown(name: str, names: Sequence[str]) -> Refusal:
    """MODEL_NOT_FOUND, with the names of what there is for whoever asked."""
    return Refusal(Reason.MODEL_NOT_FOUND, f"there is no model {name[:80]!r}; {_on_offer(names)}", param="model")


def _on_offer(names: Sequence[str]) -> str:
    if not names:
        return "no model is on offer to this key"
    more = len(names) - NAMES_SHOWN_MAX
    shown = f"on offer: {', '.join(names[:NAMES_SHOWN_MAX])}"
    return f"{shown} and {more} more (GET /v1/models)" if more > 0 else shown
