"""multipart/form-data without I/O (RFC 7578): bytes in, parts and their contents out, with no more in memory than one feed.

Theory of operation. A delimiter is CRLF, two hyphens and the boundary; what could be the beginning of one waits for the next
feed. Header fields other than Content-Disposition are passed over.
"""

import re
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal

HEAD_BYTES_MAX: Final = 8 * 1024
"""Of one part's header fields: a file name has 255 bytes on most disks."""

_BOUNDARY: Final = re.compile(r"""^multipart/form-data\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))""", re.IGNORECASE)
_PARAMETER: Final = re.compile(r""";\s*(name|filename)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))""", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


class PartBegins(Struct, frozen=True):
    """The next contents are of this field; `filename` is None where it is none."""

    name: str
    filename: str | None


class _State(Enum):
    BODY = auto()
    AFTER_DELIMITER = auto()
    HEAD = auto()
    OVER = auto()


Piece = PartBegins | bytes


def boundary_of(content_type: str) -> str:
    """The boundary that a request's Content-Type names. Refuses another type."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise Refusal(
            Reason.INVALID_REQUEST,
            "content-type: send the file as multipart/form-data with the fields purpose and file", param="file",
        )  # fmt: skip
    return found[1] or found[2]


class Multipart:
    """Feed it until the body ends, then ask `over`. What comes before the first part and after the last is nobody's."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._waiting = b"\r\n"
        self._state = _State.BODY
        self._in_part = False

    @property
    def over(self) -> bool:
        """Whether the last part came to its end."""
        return self._state is _State.OVER

    def feed(self, data: bytes) -> list[Piece]:
        """The parts that begin in these bytes, and their contents, in order."""
        self._waiting += data
        found: list[Piece] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[Piece]) -> bool:
        """Whether there is more to do with what is here."""
        if self._state is _State.OVER:
            self._waiting = b""
            return False
        if self._state is _State.AFTER_DELIMITER:
            return self._after_delimiter()
        return self._head(found) if self._state is _State.HEAD else self._body(found)

    def _body(self, found: list[Piece]) -> bool:
        at = self._waiting.find(self._delimiter)
        cut = at if at >= 0 else max(0, len(self._waiting) - len(self._delimiter) + 1)
        if cut and self._in_part:
            found.append(self._waiting[:cut])
        self._waiting = self._waiting[cut:]
        if at < 0:
            return False
        self._waiting = self._waiting[len(self._delimiter) :]
        self._state = _State.AFTER_DELIMITER
        return True

    def _after_delimiter(self) -> bool:
        if len(self._waiting) < 2:
            return False
        sign, self._waiting = self._waiting[:2], self._waiting[2:]
        if sign not in (b"--", b"\r\n"):
            raise _malformed("a boundary is followed by neither a line end nor two hyphens")
        self._state = _State.OVER if sign == b"--" else _State.HEAD
        return True

    def _head(self, found: list[Piece]) -> bool:
        at = self._waiting.find(_END)
        if max(at, len(self._waiting) if at < 0 else 0) > HEAD_BYTES_MAX:
            raise _malformed(f"the head of a part is longer than {HEAD_BYTES_MAX} bytes")
        if at < 0:
            return False
        found.append(_part(self._waiting[:at]))
        self._waiting = self._waiting[at + len(_END) :]
        self._in_part = True
        self._state = _State.BODY
        return True


def _part(head: bytes) -> PartBegins:
    for line in head.split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name.strip().lower() == "content-disposition":
            given = {found[1].lower(): found[2] if found[2] is not None else found[3] for found in _PARAMETER.finditer(value)}
            if "name" in given:
                return PartBegins(given["name"], given.get("filename"))
    raise _malformed("a part does not say its name in a Content-Disposition")


def _malformed(why: str) -> Refusal:
    return Refusal(Reason.INVALID_REQUEST, f"the body is not multipart/form-data: {why}")
