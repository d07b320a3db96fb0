"""The progress journal: before a chunk is released, what it brings the request to is written down.

Theory of operation. Bytes cannot be sent to a client and recorded at once, so they are recorded first: whatever a
client got is in the journal. A killed process loses no page cache, so a plain `pwrite` is enough against `kill -9`; a
background `sync` bounds what a power cut can take. Each record carries two cumulative counts: `recorded`, what the
chunk about to be released brings the request to, and `confirmed`, what had been handed to the kernel whole before it.
After a crash the truth lies between the two: we bill `confirmed` and waive the rest, so nobody pays for a token that he
did not get.

A segment is a header and records of one size, each with a checksum, so a torn or damaged record spoils no other; the
header is for people, and its damage spoils nothing. When a segment is full, the last records of the live requests go to
the next one, and only then is the old file deleted: the space is bounded by what is live, and a kill at any point
leaves the last record of each live request in one file or in both. The latest file wins, so a record may also lower the
counts: an engine that counts only at the end corrects what was estimated before.

Not covered: a power cut takes what was written since the last `sync`; then less is billed, never more.
"""

import contextlib
import errno
import logging
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts

_log = logging.getLogger("millrace.journal")

_MAGIC = b"MILLRACE JOURNAL"
_HEADER = struct.Struct("<16sQQ16x")  # magic, epoch, segment
_RECORD = struct.Struct("<16s7I")  # request; input, cached, output, reasoning; confirmed output and reasoning; who counted
_CRC = struct.Struct("<I")
RECORD_BYTES = _RECORD.size + _CRC.size
assert RECORD_BYTES == _HEADER.size == 48, "records are aligned to the header's size"

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""A segment holds 1.4 million chunks: rare enough that a rotation costs nothing, small enough to read back in seconds.
"""

READ_BYTES = RECORD_BYTES * 65_536
"""Read back in blocks of 3 MiB."""

READ_TRIES = 100
"""How often the segments are listed anew because one went meanwhile: each time somebody has rotated or tidied up."""

_COUNTED_BY = tuple(CountedBy)
_CODE = {counted_by: code for code, counted_by in enumerate(_COUNTED_BY)}


class Watermark(NamedTuple):
    """How far a request had come: what was recorded before release, and what of it was surely handed over."""

    recorded: TokenCounts
    confirmed_output: int
    confirmed_reasoning: int
    counted_by: CountedBy

    @property
    def billable(self) -> TokenCounts:
        """What may be billed without asking anybody: nothing at all when not even the first chunk surely went out.

        Never more than was recorded last: a final count can be lower than the estimates that were confirmed before it.
        """
        output = min(self.confirmed_output, self.recorded.output)
        if output == 0:
            return NO_TOKENS
        reasoning = min(self.confirmed_reasoning, self.recorded.reasoning, output)
        return TokenCounts(self.recorded.input, self.recorded.cached_input, output, reasoning)

    @property
    def waived(self) -> int:
        """Tokens recorded and not billed."""
        billable = self.billable
        return self.recorded.input + self.recorded.output - billable.input - billable.output


NOTHING_RECORDED = Watermark(NO_TOKENS, 0, 0, CountedBy.ENGINE)


class Journal:
    """The journal of one epoch. Used from the event loop only, `sync` from a thread."""

    def __init__(self, folder: Path, epoch: int, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        self._folder = folder
        self._epoch = epoch
        self._segment_bytes_max = segment_bytes_max
        self._live: dict[bytes, bytes] = {}
        self._segment = 1
        self._dirty = False
        self._guard = threading.Lock()  # keeps `sync` from a file that a rotation or `close` has just closed
        self._path = self._path_of(self._segment)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd, self._offset = self._begin(self._path, self._segment, b"")
        except OSError as error:
            raise _disk_refuses(self._path, error) from error

    def record(self, request: bytes, counts: TokenCounts, confirmed: TokenCounts, counted_by: CountedBy) -> None:
        """Write down what the chunk about to be released brings the request to; release only after this returned.

        Raises a Refusal with STORE_UNAVAILABLE when the disk does not take it; the chunk must not be released then.
        """
        body = _RECORD.pack(
            request, counts.input, counts.cached_input, counts.output, counts.reasoning,
            confirmed.output, confirmed.reasoning, _CODE[counted_by],
        )  # fmt: skip
        record = body + _CRC.pack(zlib.crc32(body))
        try:
            if self._offset + RECORD_BYTES > self._segment_bytes_max:
                self._rotate()
            _write(self._fd, record, self._offset)  # what a failed write left is written over by the next one
        except OSError as error:
            raise _disk_refuses(self._path, error) from error
        self._offset += RECORD_BYTES
        self._dirty = True
        self._live[request] = record

    def forget(self, request: bytes) -> None:
        """The request is settled: its records are not carried into the next segment."""
        self._live.pop(request, None)

    def watermark(self, request: bytes) -> Watermark:
        """How far a request of this epoch that is not forgotten has come."""
        record = self._live.get(request)
        return NOTHING_RECORDED if record is None else _parse(record)

    def records(self) -> dict[bytes, bytes]:
        """The last record of each request that is not forgotten, as it stands in the file."""
        return dict(self._live)

    def sync(self) -> None:
        """Bring what was recorded to the disk. Called every so often, from a thread."""
        with self._guard:
            if not self._dirty or self._fd < 0:
                return
            self._dirty = False
            fd = os.dup(self._fd)
        try:
            os.fdatasync(fd)
        except OSError as error:
            self._dirty = True
            raise _disk_refuses(self._path, error) from error
        finally:
            os.close(fd)

    def close(self) -> None:
        """Take no more records; a second time changes nothing."""
        with self._guard:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1  # a late `record` is refused instead of written to whatever file gets this number next

    def _rotate(self) -> None:
        """Begin the next segment with the last record of each live request; only then the old one goes."""
        if self._fd < 0:
            raise OSError(errno.EBADF, "the journal is closed")
        old_path, old_fd = self._path, self._fd
        segment = self._segment + 1
        path = self._path_of(segment)
        fd, offset = self._begin(path, segment, b"".join(self._live.values()))
        with self._guard:
            self._path, self._fd, self._offset, self._segment = path, fd, offset, segment
        self._segment_bytes_max = max(self._segment_bytes_max, 2 * offset)
        os.close(old_fd)
        with contextlib.suppress(OSError):  # it goes with the epoch at the latest, and its records are older than those carried
            old_path.unlink()

    def _begin(self, path: Path, segment: int, carried: bytes) -> tuple[int, int]:
        """A new segment with the carried records, on the disk as a whole; when the disk refuses, nothing of it is left.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, _HEADER.pack(_MAGIC, self._epoch, segment) + carried, 0)
            os.fdatasync(fd)
            _sync_folder(self._folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd, _HEADER.size + len(carried)

    def _path_of(self, segment: int) -> Path:
        return self._folder / f"{self._epoch:08d}-{segment:06d}.journal"


def watermarks(folder: Path, epoch: int | None = None) -> dict[bytes, Watermark]:
    """The last valid record of each request over all segments in the folder, or those of one epoch. Damaged records are
    passed over, and logged.

    A segment may go while it is looked for: its records are in the next one, or a sibling has put the epoch's files away.
    """
    for tries_left in reversed(range(READ_TRIES)):
        try:
            return _watermarks(segments(folder, epoch))
        except FileNotFoundError:
            if tries_left == 0:
                raise
    raise AssertionError("unreachable")


def _watermarks(paths: Sequence[Path]) -> dict[bytes, Watermark]:
    last: dict[bytes, bytes] = {}
    for path in paths:
        damaged = _read(path, last)
        if damaged:
            _log.warning("%s: %d damaged records were passed over; what they recorded is not billed", path.name, damaged)
    return {request: _parse(record) for request, record in last.items()}


def segments(folder: Path, epoch: int | None = None) -> list[Path]:
    """The segment files, oldest first; of one epoch or of all."""
    return sorted(folder.glob("*.journal" if epoch is None else f"{epoch:08d}-*.journal"))


def epochs_in(folder: Path) -> list[int]:
    """The epochs that have segments or a lock in the folder."""
    return sorted({int(path.name[:8]) for path in folder.iterdir() if path.name[:8].isdigit()}) if folder.is_dir() else []


def _read(path: Path, last: dict[bytes, bytes]) -> int:
    """Put the last record of each request into `last`; returns how many were damaged. A torn end is no damage: it is a
    kill's.
    """
    damaged = 0
    with path.open("rb") as file:
        file.seek(_HEADER.size)
        while block := file.read(READ_BYTES):
            for start in range(0, len(block) - RECORD_BYTES + 1, RECORD_BYTES):
                record = block[start : start + RECORD_BYTES]
                if _is_whole(record):
                    last[record[:16]] = record
                else:
                    damaged += 1
    return damaged


def _is_whole(record: bytes) -> bool:
    """A number that says who counted and is not known is a record of another version of this program, and as good as
    damaged.
    """
    body, crc = record[: _RECORD.size], record[_RECORD.size :]
    return _CRC.unpack(crc)[0] == zlib.crc32(body) and body[-4] < len(_COUNTED_BY)


def read_record(record: bytes) -> tuple[bytes, Watermark]:
    """Whose record it is and what it says. Raises ValueError for one that is damaged."""
    if len(record) != RECORD_BYTES or not _is_whole(record):
        raise ValueError("this is no whole record of the progress journal")
    return record[:16], _parse(record)


def _parse(record: bytes) -> Watermark:
    _, input_, cached, output, reasoning, confirmed, confirmed_reasoning, code = _RECORD.unpack(record[: _RECORD.size])
    return Watermark(TokenCounts(input_, cached, output, reasoning), confirmed, confirmed_reasoning, _COUNTED_BY[code])


def _write(fd: int, data: bytes, offset: int) -> None:
    """All of it or an OSError: a full disk may take a part."""
    written = os.pwrite(fd, data, offset)
    if written != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync_folder(folder: Path) -> None:
    """Make the new file's name durable before the old file's name goes."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _disk_refuses(path: Path, error: OSError) -> Refusal:
    return Refusal(
        Reason.STORE_UNAVAILABLE,
        f"the progress journal {path.name} cannot be written ({error.strerror}); make room on the disk",
        retry_after_s=1,
    )
