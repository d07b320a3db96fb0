"""Content-addressed files: each lies under the SHA-256 of its content, is never changed, and is there whole or not at all.

`<root>/blobs/<sha256>` are the files, read-only; `<root>/partial/` is where they are written before they are known;
`<root>/lock` is held for milliseconds.
Safe with several processes: a blob appears by a rename, and two that bring the same one bring the same content.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.catalog.weights.durable import locked, store_errors, sync_folder
from millrace.catalog.weights.values import SHA256

CHUNK_BYTES: Final = 1024 * 1024

_COPY: Final = "copy-"

Progress = Callable[[int], None]
"""Told how many bytes more are done."""


def no_progress(_: int) -> None:
    """For callers that show nothing."""


class Blobs:
    """Raises STORE_UNAVAILABLE when the disk does not do as it should."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root
        self.folder: Final = root / "blobs"
        self.partial: Final = root / "partial"

    def make(self) -> None:
        """Make the folders where they are missing; only their owner can read them."""
        with store_errors(self.root):
            for folder in (self.root, self.folder, self.partial):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where a blob is, or would be."""
        if not SHA256.fullmatch(sha256):
            raise ValueError(f"not a SHA-256: {sha256[:80]!r}")
        return self.folder / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether it is here. A wrong size, where one is given, is a blob that a disk lost: not here."""
        try:
            found = self.path(sha256).stat()
        except FileNotFoundError:
            return False
        return size is None or found.st_size == size

    def adopt(self, file: Path, sha256: str) -> Path:
        """Take a file of the same disk, whose content has this hash (the caller has computed it), into the store."""
        target = self.path(sha256)
        with store_errors(self.root):
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
                os.fchmod(descriptor, 0o444)
            finally:
                os.close(descriptor)
            file.replace(target)
            sync_folder(self.folder)
        return target

    def store(self, source: Path, progress: Progress = no_progress) -> tuple[str, int]:
        """Copy a file in; its SHA-256 and size. Raises NOT_FOUND when the source cannot be read."""
        self.make()
        with store_errors(self.root), locked(self.root / "lock"):
            self._sweep()
            descriptor, name = tempfile.mkstemp(prefix=_COPY, dir=self.partial)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        aside = Path(name)
        try:
            with open(descriptor, "wb") as target:  # noqa: PTH123 - a descriptor, not a path
                sha256, size = self._copy(source, target.write, progress)
                with store_errors(self.root):
                    target.flush()
                self.adopt(aside, sha256)
        finally:
            aside.unlink(missing_ok=True)
        return sha256, size

    def check(self, sha256: str, progress: Progress = no_progress) -> bool:
        """Whether the blob is here and its content has that hash; reads all of it."""
        if not self.has(sha256):
            return False
        with store_errors(self.root), self.path(sha256).open("rb") as file:
            return hash_file(file.read, progress)[0] == sha256

    def discard(self, sha256: str) -> None:
        """Remove it, if it is here."""
        with store_errors(self.root):
            self.path(sha256).unlink(missing_ok=True)

    def _copy(self, source: Path, write: Callable[[bytes], int], progress: Progress) -> tuple[str, int]:
        try:
            with source.open("rb") as file:
                return hash_file(file.read, progress, write)
        except OSError as error:
            if error.filename is None:  # of the write
                raise Refusal(
                    Reason.STORE_UNAVAILABLE, f"{source} cannot be copied into {self.root}: {error.strerror}"
                ) from error
            raise Refusal(Reason.NOT_FOUND, f"{source} cannot be read: {error.strerror}") from error

    def _sweep(self) -> None:
        """Remove copies that a killed process left: nobody holds their lock."""
        for aside in self.partial.glob(f"{_COPY}*"):
            try:
                with aside.open("rb") as file:
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    aside.unlink(missing_ok=True)
            except (BlockingIOError, FileNotFoundError):
                continue


def hash_file(
    read: Callable[[int], bytes], progress: Progress = no_progress, write: Callable[[bytes], int] | None = None
) -> tuple[str, int]:
    """SHA-256 and size of what is read to its end, passed on to `write` on the way."""
    digest = hashlib.sha256()
    size = 0
    while chunk := read(CHUNK_BYTES):
        digest.update(chunk)
        if write is not None:
            write(chunk)
        size += len(chunk)
        progress(len(chunk))
    return digest.hexdigest(), size
