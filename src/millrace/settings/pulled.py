"""`pulled = "NAME"` of a `[[models]]`: weights that `millrace model pull` put into the home."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.catalog.weights.weights import FOLDER, Weights

CONTEXT_DEFAULT: Final = 8192
"""Tokens where `context_tokens` is not given and the model was trained for more: its full context may not fit into memory."""


class PulledWeights(NamedTuple):
    """What the settings need of a pulled model."""

    path: Path
    context_tokens: int
    """What it was trained for; 0: not known, since it is not here."""


PulledModel = Callable[[str], PulledWeights]
"""By the name that it was pulled under."""


def unknown(name: str) -> PulledWeights:
    """For whoever reads settings and needs no weights."""
    return PulledWeights(Path(name), 0)


def weights_of(home: Path) -> Weights:
    """The store of a home."""
    return Weights(home.absolute() / FOLDER)


def pulled_in(home: Path) -> PulledModel:
    """The models of a home. One that is not there is told of by `check_pulled`, not here: books open without weights."""
    weights = weights_of(home)

    def find(name: str) -> PulledWeights:
        manifest = weights.get(name)
        if manifest is None:
            return unknown(name)
        return PulledWeights(weights.place(manifest), manifest.context_tokens)

    return find


def check_pulled(model: Model, home: Path, where: str) -> None:
    """Raises BAD_SETTING, with the command that helps, where a pulled model cannot be served."""
    if model.pulled is None:
        return
    weights = weights_of(home)
    manifest = weights.get(model.pulled)
    if manifest is None:
        there = ", ".join(found.name for found in weights.list()) or "none yet"
        raise Refusal(
            Reason.BAD_SETTING,
            f"{where}: model {model.name!r}: {model.pulled!r} is not pulled into {home} (pulled: {there}); "
            f"millrace model pull REF --name {model.pulled}",
        )
    if manifest.serves is None:
        raise Refusal(
            Reason.BAD_SETTING,
            f"{where}: model {model.name!r}: {model.pulled!r} is in safetensors form, which the embedded engine does not load; "
            f"make a GGUF of it: millrace model convert {model.pulled}",
        )
    weights.path(manifest)


@contextmanager
def in_use(home: Path, models: tuple[Model, ...]) -> Iterator[None]:
    """As long as these models are served their weights are not removed."""
    with ExitStack() as held:
        for model in models:
            if model.pulled is not None:
                held.enter_context(weights_of(home).use(model.pulled))
        yield
