"""The log's forms, that no key is ever in it, and that nobody can write a line that is not his."""

import json
import logging
from collections.abc import Iterator

import pytest

from millrace.cli.logs import log_to_stderr, render_fields
from millrace.settings.logs import Format, Logs
from millrace.tenants.secret import new_secret


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logging of the test run itself comes back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("millrace")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.mark.parametrize("form", list(Format))
def test_a_secret_is_masked_wherever_it_stands(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    """In a message, in its arguments, in a field and in a traceback."""
    log_to_stderr(Logs(format=form))
    secret = str(new_secret())
    try:
        int(secret)
    except ValueError:
        logging.getLogger("millrace.test").exception(
            "key %s, as in Bearer %s", secret, secret, extra={"fields": {"path": f"/v1/{secret}"}}
        )
    printed = capsys.readouterr().err
    assert secret not in printed
    assert printed.count("mr_<secret>") == 4


def test_our_events_from_info_on_and_libraries_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each with time (UTC), level and name."""
    log_to_stderr()
    logging.getLogger("millrace.up").info("ours")
    logging.getLogger("uvicorn").info("not ours")
    (line,) = capsys.readouterr().err.splitlines()
    time, level, name, message = line.split()
    assert time.endswith("Z")
    assert (level, name, message) == ("INFO", "millrace.up:", "ours")


def test_fields_follow_their_event_as_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    """In text: numbers and words bare, what has a blank or is empty in quotes."""
    log_to_stderr()
    fields = {"id": "req_1", "ms": 1.5, "stream": True, "path": "/a b", "model": "", "price": "a=b"}
    logging.getLogger("millrace.request").info("request", extra={"fields": fields})
    (line,) = capsys.readouterr().err.splitlines()
    said = 'request id=req_1 ms=1.5 stream=true path="/a b" model="" price="a=b"'
    assert line.partition(" INFO millrace.request: ")[2] == said


@pytest.mark.parametrize("nasty", ["a\nb", "\x1b[2J", "\x9b2J", "\u2028", 'say "x"', "C:\\"])
def test_what_strangers_send_stays_in_its_line(nasty: str) -> None:
    """A line break, an escape sequence of a terminal or a quote in a value is escaped, so that it reads back as it came."""
    rendered = render_fields({"path": nasty})
    assert rendered.isprintable()
    assert json.loads(rendered.removeprefix("path=")) == nasty


def test_json_is_one_object_a_line_for_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours and those of libraries, with fields, with a traceback in it."""
    log_to_stderr(Logs(format=Format.JSON))
    logging.getLogger("millrace.request").info("request", extra={"fields": {"id": "req_1", "total_ms": 1.5, "stream": False}})
    logging.getLogger("some.library").warning("odd: %s", "line\nbreak")
    try:
        int("x")
    except ValueError:
        logging.getLogger("millrace.up").exception("broke")
    request, odd, broke = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert request["time"].endswith("Z")
    del request["time"]
    assert request == {
        "level": "INFO", "logger": "millrace.request", "event": "request", "id": "req_1", "total_ms": 1.5, "stream": False,
    }  # fmt: skip
    assert (odd["logger"], odd["level"], odd["event"]) == ("some.library", "WARNING", "odd: line\nbreak")
    assert "ValueError" in broke["exception"]
