"""The adapters' files in a folder of the home, each called by what is in it.

A file is in its place before a model that needs it is published, and so may for a while be needed by none: `sweep` leaves
what is younger than FRESH_S alone.
"""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

FOLDER: Final = "adapters"
"""Of the home. Servers on several machines need the same one, on a file system that they share."""

SUFFIX: Final = ".gguf"

FRESH_S: Final = 3600
"""A file is published within seconds of its coming; an hour forgives every delay."""

_MODE: Final = 0o400


class AdapterFiles:
    """The folder. Safe with several processes at once."""

    def __init__(self, home: Path) -> None:
        self.folder: Final = home / FOLDER

    def path(self, sha256: str) -> Path:
        """Where the adapter with that content lies, if it is there."""
        return self.folder / f"{sha256}{SUFFIX}"

    def add(self, source: Path) -> str:
        """Copy an adapter into its place and say its SHA-256, by which it is found. On disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        half = self.folder / f".{os.getpid()}-{source.name}{SUFFIX}"
        try:
            shutil.copyfile(source, half)
            sha256 = _sha256(half)
            half.chmod(_MODE)
            _sync(half)
            half.replace(self.path(sha256))  # replaces the same content, and so makes a file fresh that was there before
            _sync(self.folder)
        finally:
            half.unlink(missing_ok=True)
        return sha256

    def all(self) -> list[Path]:
        """Every adapter that is there."""
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))

    def sweep(self, in_use: frozenset[str], now_s: float) -> list[str]:
        """Delete what no model needs, and say which; `now_s` is the file system's wall clock. Fresh files stay.

        Copies that were cut short go too.
        """
        gone = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name.removesuffix(SUFFIX) in in_use:
                continue
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime + FRESH_S <= now_s:
                    path.unlink()
                    gone.append(path.name.removesuffix(SUFFIX))
        return gone


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
