"""A reader of server-sent events without I/O: bytes in, events out (WHATWG HTML, section 9.2.6).

Theory of operation. A line ends at CR, LF or CRLF and at nothing else: U+2028 and U+0085 are text. A CR that ends a
feed ends its line at once; an LF that begins the next feed then belongs to it. Unfinished lines wait as the pieces they
came in, joined once when their end arrives, so that the work is linear in the bytes whatever their cutting. An event
is given out at its blank line; how the stream was cut into feeds never shows in the events.

Not covered: `id` and `retry` (there is no reconnection here) are passed over like unknown fields, and data is not
checked to be UTF-8: that is for whoever decodes it.
"""

import re
from typing import Final

from msgspec import Struct

EVENT_BYTES_MAX: Final = 1 << 20
"""Enough for any chunk of an engine, a prompt's log probabilities included; a stream without line ends stops here."""

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Event(Struct, frozen=True, gc=False):
    """`data` is the payload, several data lines joined by LF; `event` its type, 'message' where none is said."""

    data: bytes
    event: str = "message"


class EventTooLargeError(ValueError):
    """An event (or a line) outgrew the reader's bound. The reader cannot be used any further."""


class EventReader:
    """Feed it the bytes of one response body as they come; close it at the end."""

    def __init__(self, max_event_bytes: int = EVENT_BYTES_MAX) -> None:
        self._max = max_event_bytes
        self._begun = False  # past a byte order mark, or sure that there is none
        self._after_cr = False
        self._pieces: list[bytes] = []  # of the unfinished line
        self._line_bytes = 0  # in _pieces
        self._event_bytes = 0  # in the finished lines of the unfinished event
        self._data: list[bytes] = []
        self._type = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that these bytes complete. Raises EventTooLargeError; events before it in this feed are lost."""
        if piece.startswith(b"data: ") and piece.endswith(b"\n\n") and not self._pieces and not self._event_bytes:
            events = self._plain(piece)
            if events is not None:
                self._begun = True
                self._after_cr = False
                return events
        return self._lines(piece)

    def close(self) -> int:
        """The end of the body: how many bytes of an incomplete event are thrown away (0: a clean end)."""
        tail = b"".join(self._pieces)
        lost = self._event_bytes + (0 if tail.startswith(b":") else len(tail))
        self._pieces, self._line_bytes = [], 0
        self._reset_event()
        return lost

    def _plain(self, piece: bytes) -> list[Event] | None:
        """The usual case, whole events of one data line each, at the speed of split; None if anything is unusual."""
        if b"\r" in piece:
            return None
        events = []
        for block in piece[:-2].split(b"\n\n"):
            if not block.startswith(b"data: ") or b"\n" in block or len(block) > self._max:
                return None
            events.append(Event(block[6:]))
        return events

    def _lines(self, piece: bytes) -> list[Event]:
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if not self._begun:
            piece = self._without_mark(piece)
        if b"\n" not in piece and b"\r" not in piece:
            self._wait(piece)
            return []
        self._after_cr = piece.endswith(b"\r")
        first, *lines = piece.split(b"\n") if b"\r" not in piece else _LINE_END.split(piece)
        rest = lines.pop()
        lines.insert(0, b"".join([*self._pieces, first]))
        self._pieces, self._line_bytes = [], 0
        events = [event for line in lines if (event := self._line(line)) is not None]
        self._wait(rest)
        return events

    def _without_mark(self, piece: bytes) -> bytes:
        """The bytes without the byte order mark that may begin the stream, even one byte at a time."""
        start = b"".join(self._pieces) + piece
        self._pieces, self._line_bytes = [], 0
        self._begun = len(start) >= len(_BOM) or not _BOM.startswith(start)
        return start.removeprefix(_BOM)

    def _wait(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._line_bytes += len(piece)
            self._bound(self._line_bytes)

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        self._bound(len(line))
        if line.startswith(b":"):
            return None
        self._event_bytes += len(line) + 1
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._type = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        event = Event(b"\n".join(self._data), self._type or "message") if self._data else None
        self._reset_event()
        return event

    def _reset_event(self) -> None:
        self._data, self._type, self._event_bytes = [], "", 0

    def _bound(self, line_bytes: int) -> None:
        if self._event_bytes + line_bytes > self._max:
            raise EventTooLargeError(f"an event of the stream is longer than {self._max} bytes")
