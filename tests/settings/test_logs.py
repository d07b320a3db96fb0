"""`[logs]`: what can be said, and what is refused by name."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.settings.logs import Format, Logs, parse_logs
from millrace.settings.table import Table


def parse(**values: object) -> Logs:
    return parse_logs(Table(values, where="a.toml", path="logs"))


def refusal_of(**values: object) -> str:
    with pytest.raises(Refusal) as refused:
        parse(**values)
    assert refused.value.reason is Reason.BAD_SETTING
    return refused.value.sentence


def test_without_a_word_there_are_lines_for_people_and_no_texts() -> None:
    """Text, a line for each request, no prompt in it."""
    assert parse() == Logs(format=Format.TEXT, requests=True, prompts=False)


def test_each_key_is_read() -> None:
    """What stands there is what holds."""
    assert parse(format="json", requests=True, prompts=True) == Logs(format=Format.JSON, prompts=True)
    assert parse(requests=False) == Logs(requests=False)


def test_what_it_does_not_mean_is_refused() -> None:
    """Another format, a text for a flag, a key that there is not, and texts in lines that are not written."""
    assert "logs.format = 'xml': expected one of text, json" in refusal_of(format="xml")
    assert "logs.requests = 'no': expected true or false" in refusal_of(requests="no")
    assert "logs.prompt is not a setting; did you mean 'prompts'?" in refusal_of(prompt=True)
    assert "logs.prompts" in refusal_of(requests=False, prompts=True)
