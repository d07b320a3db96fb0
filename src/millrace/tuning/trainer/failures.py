"""What went wrong, as one event: a sentence with its remedy for the customer, the rest for the log."""

import errno
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from millrace.base.errors import Refusal
from millrace.tuning.trainer.base import UnusableBaseError, is_memory
from millrace.tuning.trainer.task import Event, Failed

Say = Callable[[Event], None]


class DivergedError(Exception):
    """The loss, or a weight, is no number any more."""


@contextmanager
def said_when_failed(say: Say) -> Iterator[None]:
    """The outermost place of the trainer: any exception is written to standard error and said as `failed`."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (nobody above could say it)
        traceback.print_exc()
        say(failed(error))


def failed(error: Exception) -> Failed:
    if isinstance(error, Refusal):
        return Failed(kind="data", sentence=error.sentence)
    if isinstance(error, UnusableBaseError):
        return Failed(kind="base", sentence=str(error))
    if isinstance(error, DivergedError):
        sentence = "the loss became no number: the steps are too large; lower learning_rate_multiplier, to a tenth of it"
        return Failed(kind="diverged", sentence=sentence)
    if is_memory(error):
        sentence = "memory ran out; lower batch_size or rank, shorten the examples, or train on a larger machine"
        return Failed(kind="memory", sentence=sentence)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(kind="disk", sentence="the disk is full; once there is room, the job goes on from its last checkpoint")
    sentence = "the trainer broke down through no fault of the file; the operator finds why in its log"
    return Failed(kind="internal", sentence=sentence)
