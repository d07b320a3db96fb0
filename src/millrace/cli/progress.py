"""How far a long command is: one line on stderr that is written over, for somebody who looks at a terminal; else nothing."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

from millrace.cli.shell import Shell

_AGAIN: Final = "\r\x1b[K"
"""To the line's begin, and empty it."""


class Progress:
    """Counts rows on a terminal; `total` is how many there are, 0 when nobody knows. The line is gone at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._rows = 0
        self.total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tell("")

    def add(self, rows: int) -> None:
        self._rows += rows
        self.tell(f"{self._rows:,} of {self.total:,} rows" if self.total else f"{self._rows:,} rows")

    def tell(self, words: str) -> None:
        """An empty text takes the line away."""
        if self._shown:
            self._stream.write(f"{_AGAIN}{words}")
            self._stream.flush()


def progress(shell: Shell) -> Callable[[str], None]:
    """What a command tells of its steps. Programs, which ask for JSON, are told nothing."""
    return (lambda _: None) if shell.as_json else Progress(sys.stderr).tell
