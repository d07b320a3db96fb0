"""Messages of a chat: what each role may and must say."""

import json
from typing import Any

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.generation.prompt import Message, ToolCall
from millrace.wire.chat import parse_chat

CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": 1}'}}


def messages(*said: dict[str, Any]) -> tuple[Message, ...]:
    return parse_chat(json.dumps({"model": "m", "messages": said}).encode()).prompt.messages


def test_a_chat_with_tools() -> None:
    """System, user, a turn that only calls a tool, the tool's answer and the final word come through in order."""
    assert messages(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Use tools."},
        {"role": "user", "content": "How many?", "name": "alice"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        {"role": "assistant", "content": "Three."},
    ) == (
        Message(role="system", content="Be brief."),
        Message(role="developer", content="Use tools."),
        Message(role="user", content="How many?", name="alice"),
        Message(
            role="assistant", tool_calls=(ToolCall(id="call_1", name="look_up", arguments='{"q": 1}'),)
        ),
        Message(role="tool", tool_call_id="call_1", content="3"),
        Message(role="assistant", content="Three."),
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": " b"}], "a b"),
        ([{"type": "text", "text": ""}], ""),
    ],
)
def test_text_parts_are_joined(parts: list[dict[str, str]], text: str) -> None:
    """Parts of text are one text, joined with nothing between them."""
    assert messages({"role": "user", "content": parts}) == (Message(role="user", content=text),)


def test_an_answer_may_come_back_as_it_was_given() -> None:
    """An assistant's message with the keys of our own answers, accumulated stream's index included, is accepted."""
    given = {
        "role": "assistant",
        "content": "Three.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "reasoning_content": "Hm.",
        "tool_calls": [{**CALL, "index": 0}],
    }
    (message,) = messages(given)
    assert message.content == "Three."
    assert message.tool_calls[0].id == "call_1"


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}, "content[0].type"),
    ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_audio"}]}, "content[1].type"),
    ({"role": "user", "content": [{"type": "file", "file": {}}]}, "content[0].type"),
    ({"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}, "content[0].cache_control"),
    ({"role": "user", "content": "a", "weight": 1}, "weight"),
    ({"role": "assistant", "content": "a", "audio": {"id": "x"}}, "audio"),
    ({"role": "assistant", "refusal": "No."}, "refusal"),
    ({"role": "assistant", "function_call": {"name": "f", "arguments": ""}}, "function_call"),
    ({"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {}}]}, "tool_calls[0].type"),
    ({"role": "assistant", "tool_calls": [{**CALL, "status": "done"}]}, "tool_calls[0].status"),
    (
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "", "strict": True}}]},
        "tool_calls[0].function.strict",
    ),
]

INVALID: list[tuple[dict[str, Any], str]] = [
    ({"content": "a"}, "role"),
    ({"role": "function", "content": "a"}, "role"),
    ({"role": "user"}, "content"),
    ({"role": "user", "content": None}, "content"),
    ({"role": "user", "content": 7}, "content"),
    ({"role": "user", "content": []}, "content"),
    ({"role": "user", "content": ["a"]}, "content[0]"),
    ({"role": "user", "content": [{"text": "a"}]}, "content[0].type"),
    ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
    ({"role": "user", "content": [{"type": "text", "text": None}]}, "content[0].text"),
    ({"role": "user", "content": "a", "tool_calls": [CALL]}, "tool_calls"),
    ({"role": "user", "content": "a", "tool_call_id": "call_1"}, "tool_call_id"),
    ({"role": "assistant", "content": None, "tool_calls": []}, "content"),
    ({"role": "assistant", "tool_calls": [{"type": "function"}]}, "tool_calls[0].id"),
    ({"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}, "tool_calls[0].function"),
    (
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}}}]},
        "tool_calls[0].function.arguments",
    ),
    ({"role": "tool", "content": "a"}, "tool_call_id"),
    ({"role": "tool", "content": "a", "tool_call_id": ""}, "tool_call_id"),
    ({"role": "tool", "tool_call_id": "call_1"}, "content"),
]


@pytest.mark.parametrize(
    ("message", "param", "reason"),
    [
        *((message, param, Reason.UNSUPPORTED_PARAMETER) for message, param in UNSUPPORTED),
        *((message, param, Reason.INVALID_REQUEST) for message, param in INVALID),
    ],
    ids=str,
)
def test_refused_by_path(message: dict[str, Any], param: str, reason: Reason) -> None:
    """A message that breaks a rule is refused by the path of what breaks it."""
    with pytest.raises(Refusal) as caught:
        messages({"role": "user", "content": "first"}, message)
    assert (caught.value.reason, caught.value.param) == (reason, f"messages[1].{param}")
    assert caught.value.sentence.startswith(f"messages[1].{param}: ")
