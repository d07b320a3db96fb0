"""A range of a file on its way to the disk."""

from collections.abc import Callable
from typing import Final

from millrace.catalog.hub.ranges import Range

WRITE_BYTES: Final = 1 << 20
"""One write and one record of the log."""


class Piece:
    """A range on its way to the disk, in writes of WRITE_BYTES. `at` is how far it is written."""

    def __init__(self, wanted: Range, write: Callable[[int, bytes], None]) -> None:
        self.at, self.end = wanted
        self._write = write
        self._buffer = bytearray()

    @property
    def done(self) -> bool:
        return self.at >= self.end

    @property
    def full(self) -> bool:
        """Whether all of it has come."""
        return self.at + len(self._buffer) >= self.end

    def take(self, chunk: bytes) -> None:
        """More of it; what goes beyond its end is nobody's."""
        self._buffer += chunk[: self.end - self.at - len(self._buffer)]
        if len(self._buffer) >= WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._buffer:
            content = bytes(self._buffer)
            self._buffer.clear()
            self._write(self.at, content)
            self.at += len(content)
