"""How long and how strongly a model is trained: what "auto" means, the order of the examples, the tokens of each step.

Pure, and fixed by the seed: the batches of a whole run are known before it starts, which is why a price can be exact, a
run can go on in the middle of its data, and two runs are the same.
"""

import random
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

Auto = Literal["auto"]

EPOCHS_MAX: Final = 50
BATCH_MAX: Final = 256
MULTIPLIER_MAX: Final = 100.0

STEPS_WANTED: Final = 120
"""Fewer steps than about this leave a model as it was, so small files are read more often."""

EPOCHS_AUTO_MAX: Final = 8
EPOCHS_AUTO_MIN: Final = 3
BATCH_AUTO: Final = 4


class Schedule(Struct, frozen=True, kw_only=True):
    """What a job trains with, once nothing is "auto" any more."""

    epochs: int
    batch_size: int
    learning_rate_multiplier: float


def settle(
    examples: int,
    epochs: int | Auto = "auto",
    batch_size: int | Auto = "auto",
    learning_rate_multiplier: float | Auto = "auto",
) -> Schedule:
    """The numbers for a file of so many examples; given ones stay as they are."""
    batch = min(BATCH_AUTO, examples) if batch_size == "auto" else batch_size
    return Schedule(
        epochs=epochs_for(examples, batch) if epochs == "auto" else epochs,
        batch_size=batch,
        learning_rate_multiplier=1.0 if learning_rate_multiplier == "auto" else learning_rate_multiplier,
    )


def epochs_for(examples: int, batch_size: int) -> int:
    """As many as make STEPS_WANTED steps, within bounds."""
    wanted = -(-STEPS_WANTED * batch_size // examples)
    return max(EPOCHS_AUTO_MIN, min(EPOCHS_AUTO_MAX, wanted))


def order(examples: int, epochs: int, seed: int) -> list[int]:
    """The index of each example in the order of training: every epoch has each once, shuffled anew."""
    dice = random.Random(seed)  # noqa: S311 (a shuffle that can be repeated, no secret)
    indices: list[int] = []
    for _ in range(epochs):
        epoch = list(range(examples))
        dice.shuffle(epoch)
        indices += epoch
    return indices


def batches(indices: Sequence[int], batch_size: int) -> list[Sequence[int]]:
    """The order cut into steps; a batch may hold the end of one epoch and the start of the next, the last may be short."""
    return [indices[at : at + batch_size] for at in range(0, len(indices), batch_size)]


def tokens_after(lengths: Sequence[int], plan: Sequence[Sequence[int]]) -> list[int]:
    """Tokens trained after 0, 1, … all steps; the last is the whole price. `lengths[i]` are the tokens of example i."""
    total = 0
    cumulative = [0]
    for batch in plan:
        total += sum([lengths[index] for index in batch])
        cumulative.append(total)
    return cumulative
