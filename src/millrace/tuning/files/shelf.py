"""The contents of files in a folder of the home, each called by its SHA-256.

Servers on several machines need the same folder, on a file system that they share: the contents lie nowhere else.
"""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Self

FOLDER: Final = "files"

FRESH_S: Final = 3600
"""A file is noted in the database within seconds of its coming; an hour forgives every delay."""

_MODE: Final = 0o400


class Shelf:
    """The folder. Safe with several processes at once."""

    def __init__(self, home: Path) -> None:
        self.folder: Final = home / FOLDER

    def path(self, sha256: str) -> Path:
        """Where these contents lie, if they are there."""
        return self.folder / sha256

    def incoming(self) -> "Incoming":
        """A place for contents that come piece by piece."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Incoming(self.folder)

    def add(self, source: Path) -> tuple[str, int]:
        """Copy a file onto the shelf; its SHA-256 and its bytes."""
        with self.incoming() as coming, source.open("rb") as file:
            while piece := file.read(1 << 20):
                coming.write(piece)
            return coming.keep(), coming.size

    def all(self) -> list[Path]:
        """The contents that are there."""
        return sorted(path for path in self.folder.glob("*") if not path.name.startswith("."))

    def sweep(self, in_use: frozenset[str], now_s: float) -> int:
        """Delete what no file has, and say how many; what came within FRESH_S stays. `now_s` is the file system's clock."""
        gone = 0
        for path in sorted(self.folder.glob("*")):
            if path.name in in_use:
                continue
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime + FRESH_S <= now_s:
                    path.unlink()
                    gone += 1
        return gone


class Incoming:
    """Contents under way. What is not kept is gone when the block ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f".{os.getpid()}-{secrets.token_hex(8)}"
        self._file = self._path.open("xb")
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def keep(self) -> str:
        """Bring it to the disk under the name of its contents, which is returned. A second time for the same is as once."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.chmod(_MODE)
        sha256 = self._digest.hexdigest()
        self._path.replace(self._path.with_name(sha256))
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return sha256

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
