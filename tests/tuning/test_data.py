import json
from pathlib import Path
from typing import Any

import pytest

from millrace.base.errors import Refusal
from millrace.tuning.data import (
    LINE_BYTES_MAX,
    PROBLEMS_SHOWN,
    Example,
    Findings,
    Problem,
    check,
    check_file,
    parse_example,
    read,
    read_file,
    refuse_bad,
)

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q":"lamp"}'}}


def user(text: str = "Hello") -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str | None = "Hi", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def line(*messages: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"messages": messages, **more}).encode()


def good(count: int) -> list[bytes]:
    return [line(user(f"Question {number}"), answer(f"Answer {number}")) for number in range(count)]


def reason(raw: bytes) -> str:
    """Why that line is refused."""
    with pytest.raises(Refusal) as refused:
        parse_example(raw, 1)
    return refused.value.sentence


def test_a_conversation_with_tools_is_read() -> None:
    """Messages, calls, tools and what is learned come out as the chat API reads them."""
    raw = line(
        {"role": "system", "content": "Shop"}, user("Lamp?"), answer(None, tool_calls=[CALL]),
        {"role": "tool", "tool_call_id": "c1", "content": "[]"}, answer("None left.", weight=1), tools=[TOOL],
    )  # fmt: skip
    example = parse_example(raw, 7)
    assert example.line == 7
    assert example.learned == (False, False, True, False, True)
    assert example.messages[2].tool_calls[0].arguments == '{"q":"lamp"}'
    assert example.tools[0].name == "find"


def test_weight_zero_is_read_and_not_learned() -> None:
    """An assistant's message of weight 0 stays in the conversation, and the model does not learn it."""
    example = parse_example(line(user(), answer("No", weight=0), user(), answer("Yes")), 1)
    assert example.learned == (False, False, False, True)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "the body: expected"),
        (b"{}", "messages: is required"),
        (line(), "messages"),
        (line(user()), "messages[0]: is the last and of the role user"),
        (line(user(), answer("")), "messages[1].content: is empty"),
        (line(user(), answer("Hi", weight=2)), "messages[1].weight"),
        (line(user(), answer("Hi", weight=0)), "nothing to learn"),
        (line({**user(), "weight": 1}, answer()), "messages[0].weight: is only for the role assistant"),
        (line(user(), {"role": "system", "content": "x"}, answer()), "messages[1].role: system comes first"),
        (line(user(), answer(None, tool_calls=[CALL])), "'find' is not among the tools"),
        (line(user(), {"role": "tool", "tool_call_id": "c1", "content": "x"}, answer()), "messages[1].tool_call_id"),
        (
            line(user(), answer(None, tool_calls=[CALL]), user(), {"role": "tool", "tool_call_id": "c1", "content": "x"},
                 answer(), tools=[TOOL]),
            "messages[3].tool_call_id",
        ),
        (
            line(user(), answer(None, tool_calls=[{**CALL, "function": {"name": "find", "arguments": "{"}}]), tools=[TOOL]),
            "tool_calls[0].function.arguments: is not the text of a JSON object",
        ),
        (
            line(user(), answer(None, tool_calls=[{**CALL, "function": {"name": "find", "arguments": "[1]"}}]), tools=[TOOL]),
            "arguments: is not the text of a JSON object",
        ),
        (line(user(), answer(), prompt="x"), "prompt: this parameter is not known here"),
        (line({"role": "bot", "content": "x"}, answer()), "messages[0].role"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "invalid UTF-8"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_by_its_path(raw: bytes, said: str) -> None:
    """Each rule of a line has a sentence of its own, which names the place in the line."""
    assert said in reason(raw)


def test_each_bad_line_is_named_and_the_others_are_read() -> None:
    """A bad line becomes a Problem with its number, counted from 1, and reading goes on behind it."""
    found = list(read([*good(1), b"{", *good(1)]))
    assert [type(each) for each in found] == [Example, Problem, Example]
    assert str(found[1]).startswith("line 2: is not valid JSON")


def test_blank_lines_count_only_in_the_middle() -> None:
    """A file may end with newlines; a gap inside is said once, by its first line."""
    assert [type(each) for each in read([*good(1), b"", b" "])] == [Example]
    found = list(read([*good(1), b"", b"", *good(1)]))
    assert found[1] == Problem(2, "is empty; each line is one JSON object")
    assert len(found) == 3


def test_a_byte_order_mark_is_passed_over() -> None:
    """Editors that write a mark before the first line write good files."""
    assert isinstance(next(iter(read([b"\xef\xbb\xbf" + good(1)[0]]))), Example)


def test_the_first_problems_are_shown_and_all_are_counted() -> None:
    """Twenty-five bad lines: the first twenty by number, and how many there are."""
    findings = check([*good(10), *[b"{"] * 25])
    assert findings.problem_count == 25
    assert len(findings.problems) == PROBLEMS_SHOWN
    with pytest.raises(Refusal) as refused:
        refuse_bad(findings)
    said = refused.value.sentence.splitlines()
    assert said[0].startswith("25 problems in the training file; nothing was charged")
    assert said[1].startswith("line 11: ")
    assert said[-1] == "… and 5 more"


def test_a_good_file_has_no_problems() -> None:
    """Ten good examples are enough, and nothing is said."""
    findings = check(good(10))
    assert findings == Findings(examples=10, problems=(), problem_count=0, warnings=())
    refuse_bad(findings)


def test_too_few_examples() -> None:
    """Nine examples are one too few, and the sentence says how many are needed."""
    assert [str(each) for each in check(good(9)).problems] == ["there are 9 examples, and at least 10 are needed"]


def test_duplicates_are_warned_of() -> None:
    """The same conversation twice is allowed and said, with the line that it repeats, whatever its spaces."""
    again = json.dumps(json.loads(good(1)[0]), indent=None, separators=(",", ":")).encode()
    findings = check([*good(10), again])
    assert findings.problem_count == 0
    assert findings.warnings == ("1 examples are there more than once and count each time: line 11 (as 1)",)


def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    """A line beyond the bound is a problem of its own, and the next one is read as usual."""
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"x" * (LINE_BYTES_MAX * 2 + 5) + b"\n" + b"\n".join(good(10)))
    findings = check_file(file)
    assert findings.examples == 10
    assert [problem.line for problem in findings.problems] == [1]
    assert "longer than" in findings.problems[0].sentence


def test_read_file_gives_all_or_refuses(tmp_path: Path) -> None:
    """The trainer's own reading trusts no check before it."""
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"\r\n".join(good(3)) + b"\r\n")
    assert [example.line for example in read_file(file)] == [1, 2, 3]
    file.write_bytes(b"\n".join([*good(1), b"no"]))
    with pytest.raises(Refusal, match="line 2"):
        read_file(file)
