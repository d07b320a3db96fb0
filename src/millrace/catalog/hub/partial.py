"""A download under way: bytes on disk in any order, and a log that says which of them are good.

`<folder>/<key>.part/` has `about.json` (what it will be), `data` and `log`. Each write puts bytes into `data` and then a
record with their CRC into `log`. A killed process loses neither; after a power cut a record whose bytes do not have its
CRC is dropped when the download is taken up again, and only those bytes are fetched again. Nothing here is synced: the
whole file's SHA-256 is what decides, and a blob is synced before it gets its name.
"""

import os
import shutil
import zlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.ranges import Range, count, front, merge, parse_records, render_log, render_record
from millrace.catalog.weights.blobs import CHUNK_BYTES
from millrace.catalog.weights.durable import try_lock, write_whole

SUFFIX: Final = ".part"


class About(Struct, frozen=True, kw_only=True):
    """What a partial file will be. Other content under the same key means: begin anew."""

    source: str
    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None
    validator: str | None = None
    """The ETag or date of the source, where no hash says what the content must be."""

    @property
    def content(self) -> tuple[int, str | None, str | None, str | None]:
        """What it must have in common with one that is taken up."""
        return self.size, self.sha256, self.git_sha1, self.validator


class Partial:
    """Open for one process, which holds the key's lock. A context manager, which closes the files and keeps them."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder: Final = folder / f"{key}{SUFFIX}"
        self.data: Final = self.folder / "data"
        self._log: Final = self.folder / "log"
        self._about: Final = self.folder / "about.json"
        self._descriptors: list[int] = []
        self.done: tuple[Range, ...] = ()

    def open(self, about: About) -> None:
        """Take up what is there for the same content, checked; else begin anew. Reads all that is there."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = read_about(self.folder)
        if before is None or before.content != about.content:
            self._empty(about)
        self._descriptors = [self._open_data(about.size)]
        self.done = merge(self._good(about.size))
        self._descriptors.append(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def write(self, start: int, content: bytes) -> None:
        """Bytes first, then their record."""
        data, log = self._descriptors
        written = 0
        while written < len(content):
            written += os.pwrite(data, content[written:], start + written)
        os.write(log, render_record(start, content))
        self.done = merge((*self.done, Range(start, start + len(content))))

    def read(self, start: int, most: int) -> bytes:
        return os.pread(self._descriptors[0], most, start)

    @property
    def front(self) -> int:
        """How far it is whole from its beginning on."""
        return front(self.done)

    @property
    def count(self) -> int:
        """Bytes that are here."""
        return count(self.done)

    def begin_anew(self, about: About) -> None:
        """Forget all that was fetched."""
        self.close()
        self._empty(about)
        self.open(about)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def discard(self) -> None:
        """Remove it, whatever is left of it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _empty(self, about: About) -> None:
        for path in (self._about, self.data, self._log):
            path.unlink(missing_ok=True)
        write_whole(self._about, msgspec.json.encode(about))

    def _open_data(self, size: int) -> int:
        descriptor = os.open(self.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.truncate(descriptor, size)
        return descriptor

    def _good(self, size: int) -> list[Range]:
        """The ranges whose bytes are what their records say; a log with others in it is written anew."""
        log = self._log.read_bytes() if self._log.exists() else b""
        good = [record for record in parse_records(log, size) if self._crc(record.start, record.end) == record.crc]
        if render_log(good) != log:
            write_whole(self._log, render_log(good))
        return [Range(record.start, record.end) for record in good]

    def _crc(self, start: int, end: int) -> int:
        crc = 0
        for at in range(start, end, CHUNK_BYTES):
            crc = zlib.crc32(self.read(at, min(CHUNK_BYTES, end - at)), crc)
        return crc


def read_about(folder: Path) -> About | None:
    """What a partial file's folder says of itself, None where it says nothing that can be read."""
    try:
        return msgspec.json.decode((folder / "about.json").read_bytes(), type=About)
    except (OSError, msgspec.MsgspecError):
        return None


class Unfinished(Struct, frozen=True, kw_only=True):
    """A file that a pull began and did not end."""

    source: str
    path: str
    size: int
    held: int
    """Bytes that are here."""


def unfinished(folder: Path) -> tuple[Unfinished, ...]:
    """All of a store, by source and path; also those that a running pull is fetching."""
    found = []
    for place in folder.glob(f"*{SUFFIX}"):
        about = read_about(place)
        if about is not None:
            held = held_bytes(folder, place.name.removesuffix(SUFFIX), about.size)
            found.append(Unfinished(source=about.source, path=about.path, size=about.size, held=held))
    return tuple(sorted(found, key=lambda one: (one.source, one.path)))


def discard_unfinished(folder: Path, source: str) -> int:
    """Remove what pulls from a source left; how many files. Raises CONFLICT while a pull is fetching one of them."""
    count = 0
    for place in folder.glob(f"*{SUFFIX}"):
        about = read_about(place)
        if about is None or about.source != source:
            continue
        lock = place.with_suffix(".lock")
        descriptor = try_lock(lock)
        if descriptor is None:
            raise Refusal(Reason.CONFLICT, f"{about.path} of {source} is being pulled by another command; end that first")
        try:
            shutil.rmtree(place, ignore_errors=True)
            count += 1
        finally:
            lock.unlink(missing_ok=True)
            os.close(descriptor)
    return count


def held_bytes(folder: Path, key: str, size: int) -> int:
    """How many bytes of a file that is under way are here, as far as its log says."""
    try:
        log = (folder / f"{key}{SUFFIX}" / "log").read_bytes()
    except OSError:
        return 0
    return count(merge(Range(record.start, record.end) for record in parse_records(log, size)))
