"""Whose turn it is to write a file that several processes write: bounded, fair enough, and free again whenever one dies.

Theory of operation. SQLite tells a second writer that the database is busy and leaves it to sleep and try again, up to
100 ms at a time; a writer that commits one transaction after the other is never caught between two of them, and the
second waits for seconds. Here a writer first takes the turn, a lock of the kernel on a file beside the database. Whoever
waits for the turn holds a second lock, the place at the head of the queue, and nobody takes a turn without having been at
the head: so the one that just had its turn cannot have the next one while another waits. The kernel releases both locks of
a process that ends in whatever way. Both are tried for every so often, since it cannot be told how long to wait for them.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.0003
"""A tenth of what a commit takes on a disk: little is lost between one turn and the next, and looking costs little."""


class Turnstile:
    """One process's way to its turn, beside the database at `path`. Used from one thread."""

    def __init__(self, path: Path) -> None:
        self._head = _open(path.with_name(f"{path.name}-queue"))
        self._turn = _open(path.with_name(f"{path.name}-turn"))

    def enter(self, patience_s: float) -> bool:
        """Take the turn; False when it was not to be had for so long. Nothing is held then."""
        until = time.monotonic() + patience_s
        if not _lock(self._head, until):
            return False
        try:
            return _lock(self._turn, until)
        finally:
            fcntl.flock(self._head, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Give the turn to the next one. Safe to call without having it."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._head)
        os.close(self._turn)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(LOOK_S)
        else:
            return True
