"""How a command that has something to clean up ends early."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does: by an exception, so that what was started is stopped."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _raise) for number in signals}
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, before[number])


def _raise(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
