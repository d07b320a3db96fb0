"""The catalogue: what is on offer, by name."""

from collections.abc import Iterable
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

    def find(self, name: str, *, among: frozenset[str] | None = None) -> Model:
        """The model of that name.

        Raises MODEL_NOT_FOUND, which names what there is (only `among` those the caller may see).
        """
        model = self._by_name.get(name)
        if model is None:
            raise Refusal(
                Reason.MODEL_NOT_FOUND, f"there is no model {name[:80]!r}; {self._on_offer(among)}", param="model"
            )
        return model

    def visible(self, allowed: frozenset[str] | None) -> tuple[Model, ...]:
        """What a key may see: all, or those of the names it is limited to."""
        return self.models if allowed is None else tuple(model for model in self.models if model.name in allowed)

    def _on_offer(self, among: frozenset[str] | None) -> str:
        names = [model.name for model in self.visible(among)]
        if not names:
            return "no model is on offer to this key"
        more = len(names) - NAMES_SHOWN_MAX
        shown = f"on offer: {', '.join(names[:NAMES_SHOWN_MAX])}"
        return f"{shown} and {more} more (GET /v1/models)" if more > 0 else shown
