"""Files that survive a power cut: written aside, synced, renamed, and the folder synced; and locks that no crash leaves."""

import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from millrace.base.errors import Reason, Refusal

_NUMBERS: Final = itertools.count(1)


def write_whole(path: Path, content: bytes) -> None:
    """The file is there with all of its content, or as it was before."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{next(_NUMBERS)}")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was renamed into or removed from a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of this file, which is made; wait for whoever has it. For work of milliseconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """A descriptor that holds the file's lock until it is closed, or None while somebody else has it.

    Whoever holds it alone may remove the file: a lock on a file that is not there any more is nobody's.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


@contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """A disk that refuses is one sentence: STORE_UNAVAILABLE."""
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        at = error.filename or folder
        raise Refusal(Reason.STORE_UNAVAILABLE, f"the store of weights {folder} cannot be used: {what} ({at})") from error
