"""Become another program on chosen cores: `python -m bench.launch 0,1 PROGRAM ARGUMENT …`.

The cores are taken before the program starts, so that every thread of it has them, and it dies with its parent: a bench
that is killed leaves nothing running.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main(cores: str, *command: str) -> None:
    """Never returns."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
