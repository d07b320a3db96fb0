"""A bound on the time that judging one answer may take.

Patterns are the operator's own, and one like (a+)+$ takes longer than the sun shines on an answer that just does not match. The
bound is an alarm of the operating system (setitimer): Python's `re` looks for signals while it matches, so the handler's
exception ends it. That works in the main thread only, which is where commands run; elsewhere `bounded` is a bug and raises
ValueError.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class TookTooLong(Exception):
    """The time was up."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raises TookTooLong out of the block when it takes longer."""
    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TookTooLong
