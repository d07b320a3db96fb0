"""Which bytes of a file a request asks for (RFC 9110, 13.1 and 14). Pure. One range at a time: of several, all is sent."""

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*")


class Span(NamedTuple):
    """[start, end) of a file, or the whole of it."""

    start: int
    end: int
    whole: bool


class Unsatisfiable(NamedTuple):
    """The range begins where the file has ended."""


def asked(header: str | None, size: int, *, etag: str, if_range: str | None = None) -> Span | Unsatisfiable:
    """What to send of a file of `size` bytes. A range that is none, or of another version (If-Range), asks for all."""
    everything = Span(0, size, whole=True)
    found = _RANGE.fullmatch(header) if header is not None else None
    if found is None or not (found[1] or found[2]) or (if_range is not None and if_range.strip() != etag):
        return everything
    if not found[1]:
        last = min(int(found[2]), size)
        return Span(size - last, size, whole=False) if last else Unsatisfiable()
    start = int(found[1])
    end = int(found[2]) + 1 if found[2] else size
    if end <= start and found[2]:
        return everything  # the last byte before the first: no range, which is as if there were none
    return Span(start, min(end, size), whole=False) if start < size else Unsatisfiable()


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match names this version: then nothing need be sent. Weak tags match as strong ones do here."""
    if header is None:
        return False
    return header.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in header.split(","))
