"""The hashes of a file, computed behind the writing as far as the file is whole."""

import hashlib
from collections.abc import Callable

from millrace.catalog.weights.blobs import CHUNK_BYTES


class Digest:
    """SHA-256, and Git's name of the content where one is expected."""

    def __init__(self, size: int, *, git: bool) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if git else None
        self.at = 0
        """How many bytes are in it."""

    def advance(self, read: Callable[[int, int], bytes], end: int) -> None:
        """Take in what is there up to `end`; `read` is given a start and a length."""
        while self.at < end:
            chunk = read(self.at, min(CHUNK_BYTES, end - self.at))
            if not chunk:
                raise OSError(f"the file ends at byte {self.at}")
            self._sha256.update(chunk)
            if self._git is not None:
                self._git.update(chunk)
            self.at += len(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def git_sha1(self) -> str | None:
        return None if self._git is None else self._git.hexdigest()
