"""The life of one server as others see it: a lock in its home folder for its neighbours, a deadline for itself.

The kernel gives a lock back when its process ends, however it ends; a process that only sleeps keeps it. So who shares the
folder knows at once who is dead, and everybody else goes by the lease in the database.
"""

import contextlib
import fcntl
import os
import platform
import secrets
from pathlib import Path
from typing import Final

from millrace.base.clock import NS_PER_S, Clock
from millrace.money.epochs.store import LEASE_NS, Other

MARGIN_NS: Final = NS_PER_S // 2
"""How long before its lease ends a server stops to release anything: its clock and the database's may run differently."""

_HOME: Final = "home"

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Life:
    """Of the server that this process is. Used from the event loop and, `lock`, from the writer's thread."""

    def __init__(self, folder: Path, clock: Clock, *, far: bool = False) -> None:
        self._folder = folder
        self._clock = clock
        self._lock: tuple[int, int] | None = None  # epoch, descriptor
        self._deadline = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._id = _home_id(folder)
        self.home = f"{self._id}@{_boot_id()}" if far else self._id
        """What an epoch is marked with. With other machines about, a free lock says nothing of what another kernel runs."""

    def lock(self, epoch: int) -> None:
        """Take the epoch's lock, and leave the one before; no child of ours inherits it."""
        self.unlock()
        descriptor = os.open(_lock_path(self._folder, epoch), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # a neighbour that looks whether it is free has it for microseconds
        self._lock = epoch, descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            epoch, descriptor = self._lock
            self._lock = None
            _lock_path(self._folder, epoch).unlink(missing_ok=True)
            os.close(descriptor)

    def renewed(self, asked_at: int) -> None:
        """The database renewed the lease with something that was asked at that monotonic time or later."""
        self._deadline = max(self._deadline, asked_at + LEASE_NS - MARGIN_NS)

    def ended(self) -> None:
        """Another server took over: the deadline has passed whatever the clock says."""
        self._deadline = 0

    @property
    def may_release(self) -> bool:
        """Whether no other server can have taken over yet."""
        return self._clock.monotonic() < self._deadline

    def is_near(self, home: str) -> bool:
        """Whether the journal of an epoch with that home lies in our folder."""
        return home.partition("@")[0] == self._id

    def is_dead(self, other: Other, lease_now: int) -> bool:
        """Whether an epoch may be taken over now: nobody has it, or whoever took it over is dead too."""
        if other.taken_by:
            gone = other.taker_home == self.home and lock_is_free(self._folder, other.taken_by)
            return gone or not other.taker_lives
        return (other.home == self.home and lock_is_free(self._folder, other.number)) or other.lease_until < lease_now


def lock_is_free(folder: Path, epoch: int) -> bool:
    """Whether the process that had the epoch is gone, as far as this folder knows."""
    try:
        descriptor = os.open(_lock_path(folder, epoch), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def clear(folder: Path, epoch: int) -> None:
    """Take away what an epoch left in the folder."""
    for path in folder.glob(f"{epoch:08d}[-.]*"):
        path.unlink(missing_ok=True)


def _lock_path(folder: Path, epoch: int) -> Path:
    return folder / f"{epoch:08d}.lock"


def _boot_id() -> str:
    """Of the kernel that runs us, since it was started."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text("ascii").strip()
    return platform.node()


def _home_id(folder: Path) -> str:
    """A name of this folder that no other has, made once; several servers that start at once agree on it."""
    path = folder / _HOME
    fresh = folder / f"{_HOME}.{os.getpid()}"
    if not path.exists():
        fresh.write_text(secrets.token_hex(16), "ascii")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text("ascii")
