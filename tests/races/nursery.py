"""Where victims are born: a process that has everything imported and forks, so that a birth costs milliseconds.

It has one thread and no database: each victim opens its own connections after the fork. It ends when nobody asks any more.
"""

import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[2]
MESSAGE_BYTES_MAX: Final = 4096
PRELOADED: Final = ("tests.races.books_victim", "tests.races.callers", "millrace.store.postgres_database")

T = TypeVar("T")
Life = Callable[[T, int], None]
"""What a victim does until it is killed: what it was born to, and the pipe to tell its clients through."""


class Nursery:
    """`born` forks a victim; its process id is returned, and our end of its pipe. What it says else goes to `log`."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.races.nursery", str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
            )

    def born(self, live: Life[T], berth: T, log: Path) -> tuple[int, int]:
        ours, theirs = os.pipe()
        try:
            socket.send_fds(self._socket, [pickle.dumps((live, berth, log))], [theirs])
            pid = int(self._socket.recv(MESSAGE_BYTES_MAX))
        finally:
            os.close(theirs)
        return pid, ours

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def serve(asking: socket.socket) -> None:
    """The dead are buried by the kernel; nothing of ours is copied when a victim's garbage is collected."""
    for name in PRELOADED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(asking, MESSAGE_BYTES_MAX, 1)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            asking.close()
            _live_and_die(data, fds[0])
        os.close(fds[0])
        asking.send(b"%d" % pid)


def _live_and_die(data: bytes, pipe: int) -> None:
    """Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        live, berth, log = pickle.loads(data)  # noqa: S301 - from our own parent
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        live(berth, pipe)
        code = 0
    except BaseException:  # noqa: BLE001 - there is nobody above us
        traceback.print_exc()
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
