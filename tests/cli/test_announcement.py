"""What a start says, to people and to programs."""

import json
import shlex

from millrace.cli.announcement import Announcement, ServedModel, address, render_announcement, render_recovery
from millrace.money.billing.succession import Recovery


def said(key: str | None, *models: ServedModel) -> Announcement:
    return Announcement(
        base_url="http://127.0.0.1:8000/v1", page="http://127.0.0.1:8000/", key=key,
        key_command="millrace key create --tenant demo", tenant="demo",
        models=models or (ServedModel("echo", "ready", None),),
    )  # fmt: skip


def curl(text: str) -> list[str]:
    """The words of the curl line, as a shell would read them."""
    (line,) = (line for line in text.splitlines() if line.startswith("curl "))
    return shlex.split(line)


def test_the_first_start_shows_the_key_and_a_line_to_paste() -> None:
    """One line with the key in it, whose body is JSON that asks for a stream."""
    text = render_announcement(said("mr_secret"))
    words = curl(text)
    assert "Authorization: Bearer mr_secret" in words
    assert json.loads(words[-1])["stream"] is True
    assert json.loads(words[-1])["model"] == "echo"
    assert words[2] == "http://127.0.0.1:8000/v1/chat/completions"
    assert "Ctrl-C" in text


def test_later_starts_say_how_to_make_another_key() -> None:
    """No key can be shown, so the line takes it from a variable."""
    text = render_announcement(said(None))
    assert "millrace key create --tenant demo" in text
    assert '"Authorization: Bearer $MILLRACE_KEY"' in text


def test_a_failed_engine_is_shown_with_its_sentence() -> None:
    """And the line to paste uses a model that works."""
    models = (ServedModel("broken", "failed", "the file is damaged"), ServedModel("echo", "ready", None))
    text = render_announcement(said(None, *models))
    assert "broken  failed: the file is damaged" in text
    assert json.loads(curl(text)[-1])["model"] == "echo"


def test_the_form_has_the_state_of_each_model() -> None:
    """What programs read: no failure sentence, no command."""
    assert said("mr_secret").form() == {
        "base_url": "http://127.0.0.1:8000/v1", "page": "http://127.0.0.1:8000/", "key": "mr_secret", "tenant": "demo",
        "models": [{"name": "echo", "state": "ready"}],
    }  # fmt: skip


def test_an_address_can_be_opened() -> None:
    """A server that listens everywhere is named by where it is found from here; IPv6 is bracketed."""
    assert address("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert address("0.0.0.0", 80) == "http://127.0.0.1:80"  # noqa: S104 - shown, not bound
    assert address("::", 80) == "http://[::1]:80"


def test_a_recovery_is_one_line_and_nothing_is_none() -> None:
    """What was settled, voided and waived; silence when there was nothing."""
    assert render_recovery(Recovery()) is None
    line = render_recovery(Recovery(settled=3, voided=1, waived=2))
    assert line is not None
    assert "\n" not in line
    assert "3 were settled" in line
