"""How far a long command is."""

from io import StringIO

from millrace.cli.progress import Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is() -> None:
    """One line is written over, and in the end it is gone."""
    screen = Terminal()
    with Progress(screen) as progress:
        progress.add(5_000)
        progress.total = 60_000
        progress.add(5_000)
    assert screen.getvalue() == "\r\x1b[K5,000 rows\r\x1b[K10,000 of 60,000 rows\r\x1b[K"


def test_a_pipe_is_told_nothing() -> None:
    """What is piped is for programs."""
    pipe = StringIO()
    with Progress(pipe) as progress:
        progress.add(10_000)
    assert pipe.getvalue() == ""
