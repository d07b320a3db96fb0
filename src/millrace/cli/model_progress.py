"""How far a pull is: bars on a terminal, one line for each thing worth knowing elsewhere, nothing for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from millrace.catalog.hub.show import Show, Silent
from millrace.cli.shell import Shell

_PATH_SHOWN_MAX: Final = 40


class Lines(Silent):
    """For a log: only what one should know."""

    def say(self, sentence: str) -> None:
        print(f"millrace: {sentence}", file=sys.stderr)  # noqa: T201


class Bars(Silent):
    """A bar for each file under way; the line of a file that is here stays."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def begin(self, path: str, size: int, done: int) -> None:
        shown = path if len(path) <= _PATH_SHOWN_MAX else f"…{path[1 - _PATH_SHOWN_MAX :]}"
        if path in self._tasks:
            self._progress.reset(self._tasks[path], total=size, completed=done)
        else:
            self._tasks[path] = self._progress.add_task(shown, total=size, completed=done)

    def add(self, path: str, count: int) -> None:
        self._progress.advance(self._tasks[path], count)

    def say(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False, highlight=False)


@contextmanager
def pull_progress(shell: Shell) -> Iterator[Show]:
    """What a command that reads or fetches gigabytes tells whom."""
    if shell.as_json:
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield Bars(progress)
