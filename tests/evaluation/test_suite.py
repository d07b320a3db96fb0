"""A suite's lines, and what is refused of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.base.errors import Refusal
from millrace.evaluation.suite import parse_suite

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def line(**changes: Any) -> bytes:
    """A case that expects 'yes', changed."""
    case = {"id": "one", "messages": [{"role": "user", "content": "Yes?"}], "expect": {"type": "exact", "text": "yes"}}
    return json.dumps({**case, **changes}).encode()


def test_a_suite_is_its_cases_in_their_order() -> None:
    """Comments and empty lines are passed over; what a case leaves out has its default; the hash is of the file."""
    data = b"// a suite\n\n" + line() + b"\r\n" + line(id="two", tags=["a", "b"], max_tokens=9, tools=[TOOL])
    suite = parse_suite(data, "s.jsonl")
    assert [(case.id, case.max_tokens, case.tags, case.expect.kind) for case in suite.cases] == [
        ("one", None, (), "exact"), ("two", 9, ("a", "b"), "exact"),
    ]  # fmt: skip
    assert suite.sha256 != parse_suite(data + b"\n", "s.jsonl").sha256
    assert suite.cases[1].body("m", temperature=0.5) == {
        "model": "m", "messages": [{"role": "user", "content": "Yes?"}], "tools": [TOOL], "max_tokens": 9, "temperature": 0.5,
    }  # fmt: skip
    assert [suite.cases[0].body("m", max_output_tokens=most)["max_tokens"] for most in (100, 1000)] == [100, 256]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (b"{", "not valid JSON"), (line(extra=1), "extra: this parameter is not known"),
        (line(expect={"type": "luck"}), "luck"),
        (line(id=""), "id:"), (line(messages=[]), "messages"), (line(messages=[{"role": "user"}]), "messages[0].content"),
        (line(expect={"type": "regex", "pattern": "(a"}), "expect.pattern: is no regular expression"),
        (line(expect={"type": "json_schema", "schema": {"type": "objet"}}), "expect.schema['type']"),
        (line(expect={"type": "tool_call", "name": "find", "arguments": {}}), "none of the case's tools"),
        (line(expect={"type": "grounded", "in": "tools"}), "nothing in the tools"),
        (line(expect={"type": "all", "of": [{"type": "regex", "pattern": "*"}]}), "expect.pattern"),
        (line(expect={"type": "all", "of": []}), "expect.of"), (line(max_tokens=0), "max_tokens"),
        (line(expect={"type": "exact", "text": "a", "normalise": ["magic"]}), "normalise"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(wrong: bytes, said: str) -> None:
    """Each refusal begins with the file and the line, and names the thing."""
    with pytest.raises(Refusal) as refused:
        parse_suite(line() + b"\n// more\n" + wrong, "s.jsonl")
    assert refused.value.sentence.startswith("s.jsonl, line 3: ")
    assert said in refused.value.sentence


def test_ids_are_once_and_a_suite_has_cases() -> None:
    """A second case of an id is refused with the line of the first, and so is a file without a case."""
    with pytest.raises(Refusal, match="line 2: the id 'one' stands in line 1 already"):
        parse_suite(line() + b"\n" + line(), "s.jsonl")
    with pytest.raises(Refusal, match="has no case"):
        parse_suite(b"// nothing\n", "s.jsonl")


def test_what_may_ground_an_answer() -> None:
    """`tools` are the tools' answers alone; `messages` is what everybody said, and what calls asked for."""
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q": "mug"}'}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "A "}, {"type": "text", "text": "mug?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "12"},
    ]  # fmt: skip
    (case,) = parse_suite(line(messages=messages), "s.jsonl").cases
    assert case.sources("tools") == ["12"]
    assert case.sources("messages") == ["A mug?", "12", '{"q": "mug"}']


def test_the_example_of_the_guide_is_a_suite() -> None:
    """Ten cases, one rule of each kind among them."""
    path = Path(__file__).parents[2] / "docs" / "guides" / "evaluation.jsonl"
    suite = parse_suite(path.read_bytes(), path.name)
    assert len(suite.cases) == 10
    assert {case.expect.kind for case in suite.cases} == {
        "exact", "regex", "json_schema", "tool_call", "no_tool_call", "grounded", "all",
    }  # fmt: skip
