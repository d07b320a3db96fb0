"""Checkpoints: a folder appears under its name whole and on the disk, or not at all.

Each is written beside its place, every file flushed, a seal written last with the sizes and hashes of the others, the
folder renamed, and the folder above flushed. So a process that is killed leaves either nothing or rubbish under a name
that nobody reads (`*.partial`, swept away at the next start), and a disk that lost bytes is noticed: `newest` passes over
what does not match its seal and takes the one before.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

KEPT: Final = 2
"""The newest, and one more in case its bytes rot."""

PARTIAL: Final = ".partial"

_SEAL: Final = "millrace.json"
_PREFIX: Final = "checkpoint-"


class SealedFile(Struct, frozen=True):
    name: str
    bytes: int
    sha256: str


class Seal(Struct, frozen=True, kw_only=True):
    """What a whole folder says of itself. `fingerprint` names the task that it belongs to."""

    fingerprint: str
    step: int
    tokens: int
    files: tuple[SealedFile, ...]


class Found(NamedTuple):
    path: Path
    seal: Seal


def sealed(partial: Path, to: Path, *, fingerprint: str, step: int, tokens: int) -> Path:
    """Make the folder `partial` durable under the name `to`, which it replaces."""
    files = tuple([_hashed(partial, path) for path in _files(partial)])
    seal = Seal(fingerprint=fingerprint, step=step, tokens=tokens, files=files)
    (partial / _SEAL).write_bytes(msgspec.json.encode(seal))
    for path in (*_files(partial), partial / _SEAL):
        flush(path)
    flush(partial)
    if to.exists():
        shutil.rmtree(to)
    partial.rename(to)
    flush(to.parent)
    return to


def whole(folder: Path) -> Seal | None:
    """The seal of a folder whose files are all as they were written, else None."""
    try:
        seal = msgspec.json.decode((folder / _SEAL).read_bytes(), type=Seal)
        good = all(_hashed(folder, folder / file.name) == file for file in seal.files)
    except (OSError, msgspec.DecodeError):
        return None
    return seal if good else None


def place(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step:08d}"


def newest(folder: Path) -> Found | None:
    """The whole checkpoint with the most steps."""
    for path in sorted(folder.glob(f"{_PREFIX}*[0-9]"), reverse=True):
        seal = whole(path)
        if seal is not None:
            return Found(path, seal)
    return None


def sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished."""
    for path in folder.glob(f"*{PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


def forget_older(folder: Path) -> None:
    """Remove all but the newest KEPT."""
    for path in sorted(folder.glob(f"{_PREFIX}*[0-9]"), reverse=True)[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def flush(path: Path) -> None:
    """Onto the disk: a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted([path for path in folder.rglob("*") if path.is_file() and path.name != _SEAL])


def _hashed(folder: Path, path: Path) -> SealedFile:
    return SealedFile(str(path.relative_to(folder)), path.stat().st_size, file_hash(path))
