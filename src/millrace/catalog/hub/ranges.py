"""Which bytes of a file are here, and which to ask for. Pure; ranges are half open: `start` is in it, `end` is not."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple


class Range(NamedTuple):
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


class Record(NamedTuple):
    """A line of a partial file's log: these bytes were written, and this is their CRC-32."""

    start: int
    end: int
    crc: int


_RECORD: Final = struct.Struct("<QQI")
_CHECK: Final = struct.Struct("<I")
RECORD_BYTES: Final = _RECORD.size + _CHECK.size


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same bytes as few ranges in order: none touches the next."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1].end:
            merged[-1] = Range(merged[-1].start, max(merged[-1].end, end))
        else:
            merged.append(Range(start, end))
    return tuple(merged)


def missing(size: int, done: Iterable[Range]) -> tuple[Range, ...]:
    """What of a file of `size` bytes is not in `done`."""
    gaps = []
    at = 0
    for start, end in merge(done):
        if start > at:
            gaps.append(Range(at, min(start, size)))
        at = max(at, end)
    gaps.append(Range(at, size))
    return tuple(gap for gap in gaps if gap.start < gap.end)


def pieces(size: int, done: Iterable[Range], piece_bytes: int) -> tuple[Range, ...]:
    """What is missing, from the front on, in parts of at most `piece_bytes`, each of which is one request."""
    return tuple(
        Range(start, min(start + piece_bytes, gap.end))
        for gap in missing(size, done)
        for start in range(gap.start, gap.end, piece_bytes)
    )


def front(done: Sequence[Range]) -> int:
    """How far the file is whole from its beginning on; `done` is merged."""
    return done[0].end if done and done[0].start == 0 else 0


def count(ranges: Iterable[Range]) -> int:
    """Bytes; the ranges do not overlap."""
    return sum(end - start for start, end in ranges)


def render_record(start: int, content: bytes) -> bytes:
    """The record of `content` written at `start`, as it stands in the log."""
    return render_log([Record(start, start + len(content), zlib.crc32(content))])


def render_log(records: Iterable[Record]) -> bytes:
    raws = (_RECORD.pack(*record) for record in records)
    return b"".join(raw + _CHECK.pack(zlib.crc32(raw)) for raw in raws)


def parse_records(log: bytes, size: int) -> tuple[Record, ...]:
    """The whole records of a log, up to the first that was torn; none reaches beyond `size`."""
    found = []
    for at in range(0, len(log) - RECORD_BYTES + 1, RECORD_BYTES):
        raw = log[at : at + _RECORD.size]
        (check,) = _CHECK.unpack_from(log, at + _RECORD.size)
        record = Record(*_RECORD.unpack(raw))
        if check != zlib.crc32(raw) or not record.start < record.end <= size:
            break
        found.append(record)
    return tuple(found)
