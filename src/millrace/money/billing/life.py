"""The life of one server as others see it: a lock in its home folder for its neighbours, a deadline for itself.

The kernel gives a lock back when its process ends, however it ends; a process that only sleeps keeps it. So who shares the
folder knows at once who is dead, and everybody else goes by the lease in the database.
"""

import contextlib
import fcntl
import os
import platform
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.money.epochs.store import LEASE_NS, Other
from millrace.store.transaction import Tx

MARGIN: Final = 10
"""A server stops to release anything a tenth of its lease before that ends: its clock and the database's may differ."""

RELEASE_WAIT_S: Final = 10.0
"""How long a stream stands still while the lease cannot be renewed: a restart of the database, a fail-over."""

RELEASE_EVERY_S: Final = 0.02

_HOME: Final = "home"

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")

HeirOf = Callable[[Tx], Collection[int]]
"""Whose epochs one may take over: a process beside a server that is alone, and so renews no lease, must leave that one be."""


class Fenced(Refusal):
    """Another server took this one's epoch over; nothing that was asked under it is done any more."""

    def __init__(self, epoch: int) -> None:
        super().__init__(
            Reason.STORE_UNAVAILABLE,
            f"this server slept for too long and another one took over what it ran (epoch {epoch}); try again",
            retry_after_s=1,
        )
        self.epoch = epoch


class Life:
    """Of the server that this process is. Used from the event loop and, `lock`, from the writer's thread."""

    def __init__(self, folder: Path, clock: Clock, *, far: bool = False, lease_ns: int = LEASE_NS) -> None:
        self._folder = folder
        self._clock = clock
        self._lease_ns = lease_ns
        self._lock: tuple[int, int] | None = None  # epoch, descriptor
        self._deadline = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._id = _home_id(folder)
        self.home = f"{self._id}@{_boot_id()}" if far else self._id
        """What an epoch is marked with. With other machines about, a free lock says nothing of what another kernel runs."""

    def lock(self, epoch: int) -> None:
        """Take the epoch's lock, and leave the one before; no child of ours inherits it.

        A number whose transaction was lost is given out again: the file that the first one had may go while we wait for it.
        """
        self.unlock()
        path, locked = _lock_path(self._folder, epoch), False
        while not locked:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # a neighbour that looks whether it is free has it for microseconds
            locked = _is_at(path, descriptor)
            if not locked:
                os.close(descriptor)
        self._lock = epoch, descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            epoch, descriptor = self._lock
            self._lock = None
            path = _lock_path(self._folder, epoch)
            if _is_at(path, descriptor):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def renewed(self, asked_at: int) -> None:
        """The database renewed the lease with something that was asked at that monotonic time or later."""
        self._deadline = max(self._deadline, asked_at + self._lease_ns - self._lease_ns // MARGIN)

    def ended(self) -> None:
        """Another server took over: the deadline has passed whatever the clock says."""
        self._deadline = 0

    @property
    def may_release(self) -> bool:
        """Whether no other server can have taken over yet."""
        return self._clock.monotonic() < self._deadline

    async def until_renewed(self) -> None:
        """Return when something may be released again. Raises STORE_UNAVAILABLE when that takes too long."""
        until = self._clock.monotonic() + round(RELEASE_WAIT_S * NS_PER_S)
        while not self.may_release:
            if self._clock.monotonic() >= until:
                raise not_renewed()
            await self._clock.sleep(RELEASE_EVERY_S)

    def is_near(self, home: str) -> bool:
        """Whether the journal of an epoch with that home lies in our folder. One without a home is from before homes were
        noted: then there was one server, in one folder.
        """
        return home.partition("@")[0] in (self._id, "")

    def is_dead(self, other: Other, lease_now: int) -> bool:
        """Whether an epoch may be taken over now: nobody has it, or whoever took it over is dead too."""
        if other.taken_by:
            gone = other.taker_home == self.home and lock_is_free(self._folder, other.taken_by)
            return gone or not other.taker_lives
        return (other.home == self.home and lock_is_free(self._folder, other.number)) or other.lease_until < lease_now


def not_renewed() -> Refusal:
    """Somebody may have taken this server over, so nothing leaves it."""
    return Refusal(
        Reason.STORE_UNAVAILABLE, "the database cannot be reached, so nothing may be delivered now; try again", retry_after_s=1
    )


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


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that has that name now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock_path(folder: Path, epoch: int) -> Path:
    return folder.joinpath(f"{epoch:08d}.lock")


def _boot_id() -> str:
    """Of the kernel that runs us, since it was started."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text("ascii").strip()
    return platform.node()


def _home_id(folder: Path) -> str:
    """A name of this folder that no other has, made once; several servers that start at once agree on it."""
    path = folder.joinpath(_HOME)
    if not path.exists():
        name = secrets.token_hex(16)
        fresh = folder.joinpath(f"{_HOME}.{name}")
        fresh.write_text(name, "ascii")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text("ascii")
