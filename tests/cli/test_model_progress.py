"""How far a pull is, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from millrace.cli.model_progress import Bars, Lines, pull_progress
from millrace.cli.shell import Common, Shell


def test_bars_follow_the_files() -> None:
    """Each file has a bar with its own bytes; what begins anew goes back; a sentence stands above them."""
    out = io.StringIO()
    with Progress(console=Console(file=out, force_terminal=True, width=120)) as progress:
        bars = Bars(progress)
        bars.begin("a/very/long/path/of/a/file/in/a/repository/model.gguf", 100, 20)
        bars.add("a/very/long/path/of/a/file/in/a/repository/model.gguf", 30)
        bars.begin("b", 10, 0)
        bars.say("hub.example answered 429; trying again in 30 s [not markup]")
        first, second = progress.tasks
        assert (first.completed, first.total, second.total) == (50, 100, 10)
        assert first.description == "…th/of/a/file/in/a/repository/model.gguf"
        bars.begin("a/very/long/path/of/a/file/in/a/repository/model.gguf", 100, 0)
        assert (len(progress.tasks), first.completed) == (2, 0)
    assert "trying again in 30 s [not markup]" in out.getvalue()


def test_without_a_terminal_only_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets what one should know and no bars; a program that asked for JSON gets nothing."""
    for as_json, printed in ((False, "millrace: waiting\n"), (True, "")):
        with pull_progress(Shell(Common(as_json=as_json))) as show:
            show.begin("a", 10, 0)
            show.add("a", 5)
            show.say("waiting")
            assert isinstance(show, Lines) is not as_json
        assert capsys.readouterr() == ("", printed)
