"""The demo's voice: numbered steps, indented sentences, streamed text. Silent with --json."""

import os
import sys
import textwrap
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.cli.output import Text, View, render

INDENT: Final = "   "
WIDTH: Final = 100


class Narrator:
    """Also knows which step is being told, to name it when it fails."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._number = 0
        self._title = ""

    def open(self, sentence: str) -> None:
        self._write(f"{sentence}\n")

    def close(self, sentence: str) -> None:
        self._write(f"\n{self._strong(sentence)}\n")

    def step(self, title: str) -> None:
        self._number += 1
        self._title = title
        self._write(f"\n{self._strong(f'{self._number}. {title}')}\n")

    def say(self, sentence: str) -> None:
        """Wrapped prose."""
        self._write(textwrap.fill(sentence, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT) + "\n")

    def show(self, *views: View) -> None:
        """Indented, not wrapped."""
        for view in views:
            self._write(textwrap.indent(render(view), INDENT) + "\n")

    def quote(self, text: str) -> None:
        """What a model said."""
        self.show(Text(textwrap.fill(f"“{_printable(text.strip())}”", WIDTH)))

    def stream(self, piece: str, *, first: bool = False) -> None:
        """A piece of a model's text as it comes."""
        self._write(f"{INDENT if first else ''}{_printable(piece)}")

    def end_stream(self) -> None:
        self._write("\n")

    def failed(self, sentence: str) -> Refusal:
        """The refusal that ends the demo and names the step, to be raised."""
        return Refusal(Reason.INTERNAL_ERROR, f"step {self._number} of the demo ({self._title}) failed: {sentence}")

    def _strong(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._bold else text

    def _write(self, text: str) -> None:
        if not self._silent:
            sys.stdout.write(text)
            sys.stdout.flush()


def _printable(text: str) -> str:
    """What a model says, without what a terminal would take for commands."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
