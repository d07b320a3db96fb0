"""The home folder of one Millrace: settings, database, journal, and the lock that keeps a second server out."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from millrace.base.errors import Reason, Refusal

VARIABLE: Final = "MILLRACE_HOME"

_LOCK_NAME: Final = "server.lock"


def default_home(environment: Mapping[str, str]) -> Path:
    """`$MILLRACE_HOME`, or `~/.millrace`."""
    return Path(environment.get(VARIABLE) or Path.home() / ".millrace").expanduser()


class Home:
    """A folder that only its owner can read, made when it is missing. Raises BAD_SETTING when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(self._open_lock())
        except OSError as error:
            raise Refusal(
                Reason.BAD_SETTING,
                f"the home {self.path} cannot be used: {error.strerror}; "
                f"give a folder that you can write with --home or {VARIABLE}",
            ) from error

    def occupy(self) -> "Occupied":
        """Take the home for a server until released or the process ends, however it ends.

        Raises CONFLICT, naming who has it.
        """
        descriptor = self._open_lock()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Refusal(
                Reason.CONFLICT,
                f"a server{f' (process {owner})' if owner else ''} serves the home {self.path} already; "
                "stop it first, or give this one another --home",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return Occupied(descriptor)

    def _open_lock(self) -> int:
        return os.open(self.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Occupied:
    """A home that is taken. The lock is the kernel's: no crash leaves it behind; the file itself means nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
