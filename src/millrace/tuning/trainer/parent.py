"""What ties a process to the one that started it: it writes lines to it, and ends with it however that ends."""

import ctypes
import os
import select
import signal
import sys
import threading
from typing import Final

_LOOK_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """End at once, by SIGKILL (Linux), when the parent ends; and where standard input ends, which is the parent's hand."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, daemon=True).start()


def write(descriptor: int, line: bytes) -> None:
    """A line to the parent; one that is gone ends the process."""
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except BrokenPipeError:
        os._exit(1)


def _watch() -> None:
    """Until standard input ends; then end the process."""
    while True:
        readable, _, _ = select.select([0], [], [], _LOOK_S)
        if readable and not os.read(0, 4096):
            os._exit(1)
