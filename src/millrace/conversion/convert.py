"""A folder of safetensors as one GGUF file.

Everything that can be refused is refused before the first byte is written: packages, configuration, tokenizer, names and
shapes of all tensors, types, room on the disk. Then the tensors go through memory in pieces of PIECE_VALUES.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.conversion import extra, names
from millrace.conversion.checkpoint import Tensor, read_checkpoint, read_object, read_rows
from millrace.conversion.config import Config, RopeScaling, parse_config
from millrace.conversion.describe import describe
from millrace.conversion.kinds import Kind, Mixture
from millrace.conversion.numbers import check_kinds
from millrace.conversion.order import rotate_rows
from millrace.conversion.tokenizer import Vocabulary, read_vocabulary
from millrace.conversion.writer import Plan, Progress, write

if TYPE_CHECKING:
    from millrace.conversion.checkpoint import Floats

PIECE_VALUES: Final = 4 << 20
"""Numbers in memory at once: 16 MB in float32, and a few times that while they are encoded."""


class Converted(Struct, frozen=True, kw_only=True):
    """What was made."""

    path: Path
    kind: Kind
    architecture: str
    tensors: int
    size: int
    """Bytes."""
    fallbacks: Mapping[str, str]
    """Tensors whose rows do not fill the blocks of their usual type, with the type that they have instead."""


class Conversion:
    """One folder to be converted, looked at and found fit. `size` is what the tensors will take."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        extra.check()
        self._config: Final = parse_config(read_object(folder / "config.json"))
        self._words: Final[Vocabulary] = read_vocabulary(folder, self._config.vocabulary)
        self._there: Final = read_checkpoint(folder)
        targets = names.plan(self._config)
        names.compare(targets, {name: tensor.shape for name, tensor in self._there.items()}, tied=self._config.tied)
        experts = self._config.experts.count if self._config.experts else 0
        mixture = Mixture(kind, self._config.layers, experts, tied=self._config.tied)
        self._plans: Final = [self._plan(target, mixture.of(target.name, target.shape)) for target in targets]
        self._kind: Final[Kind] = kind
        self._fallbacks: Final = mixture.fallbacks
        check_kinds({plan.kind for plan in self._plans})
        self.size: Final = sum(plan.size for plan in self._plans)

    def run(self, to: Path, name: str, progress: Progress) -> Converted:
        """Write the file, which must not be there. `name` is what the model calls itself."""
        if to.exists():
            raise Refusal(Reason.CONFLICT, f"{to} is there already; remove it, or choose another name")

        def head(writer: Any) -> None:
            describe(writer, name, self._config, self._words, self._kind)

        size = write(to, self._config.architecture, head, self._plans, progress)
        return Converted(
            path=to, kind=self._kind, architecture=self._config.architecture, tensors=len(self._plans), size=size,
            fallbacks=self._fallbacks,
        )  # fmt: skip

    def _plan(self, target: names.Target, kind: str) -> Plan:
        if not target.sources:
            assert self._config.rope_scaling is not None
            return Plan(target.name, target.shape, kind, partial(_factors, self._config, self._config.rope_scaling))
        sources = [self._there[source] for source in target.sources]
        return Plan(target.name, target.shape, kind, partial(_pieces, sources, target.heads))


def convert(folder: Path, to: Path, kind: Kind, progress: Progress, name: str | None = None) -> Converted:
    """Look at the folder, then write the file. Raises BAD_SETTING, CONFLICT or STORE_UNAVAILABLE and leaves nothing behind."""
    return Conversion(folder, kind).run(to, name or to.stem, progress)


def _pieces(sources: list[Tensor], heads: int | None) -> "Iterator[Floats]":
    """The rows of these tensors one after the other; where rows change places, whole heads at a time."""
    for tensor in sources:
        if len(tensor.shape) == 1:
            row = read_rows(tensor, 0, 1)
            yield row if heads is None else rotate_rows(row, heads)
            continue
        unit = 1 if heads is None else tensor.rows // heads
        step = max(1, PIECE_VALUES // (tensor.width * unit)) * unit
        for first in range(0, tensor.rows, step):
            rows = read_rows(tensor, first, min(first + step, tensor.rows))
            yield rows if heads is None else rotate_rows(rows, len(rows) // unit)


def _factors(config: Config, scaling: RopeScaling) -> "Iterator[Floats]":
    """What each wave of the rotation is divided by: Llama 3's rule."""
    import numpy as np

    shortest, longest = scaling.original_context / scaling.high, scaling.original_context / scaling.low
    factors = []
    for place in range(0, config.head, 2):
        length = 2 * math.pi * config.rope_base ** (place / config.head)
        if length < shortest:
            factors.append(1.0)
        elif length > longest:
            factors.append(scaling.factor)
        else:
            blend = (scaling.original_context / length - scaling.low) / (scaling.high - scaling.low)
            factors.append(1 / ((1 - blend) / scaling.factor + blend))
    yield np.array([factors], np.float32)
