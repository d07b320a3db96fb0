"""Tools of a chat, and the choice among them."""

import json
from typing import Any

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.generation.prompt import ChatPrompt, Tool, ToolChoice
from millrace.wire.chat import parse_chat
from millrace.wire.json_body import FREE_DEPTH_MAX

LOOK_UP = {"type": "function", "function": {"name": "look_up"}}


def prompt(**asked: Any) -> ChatPrompt:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **asked}
    return parse_chat(json.dumps(body).encode()).prompt


def function(**parts: Any) -> dict[str, Any]:
    return {"type": "function", "function": parts}


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {}


def test_a_tool_in_full() -> None:
    """Name, description, schema and strictness come through as they are."""
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    assert prompt(
        tools=[function(name="look_up", description="Finds.", parameters=schema, strict=True), function(name="b-2")]
    ).tools == (
        Tool(name="look_up", description="Finds.", parameters=schema, strict=True),
        Tool(name="b-2"),
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", None),
        ("none", ToolChoice(mode="none")),
        ("required", ToolChoice(mode="required")),
        (function(name="look_up"), ToolChoice(mode="required", name="look_up")),
    ],
)
def test_the_choice(choice: Any, expected: ToolChoice | None) -> None:
    """None and auto leave it to the model; a function's name forces that one."""
    assert prompt(tools=[LOOK_UP], tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("asked", "param", "reason"),
    [
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", Reason.UNSUPPORTED_PARAMETER),
        ({"tools": [LOOK_UP, {"type": "web_search"}]}, "tools[1].type", Reason.UNSUPPORTED_PARAMETER),
        ({"tools": [{**LOOK_UP, "name": "a"}]}, "tools[0].name", Reason.UNSUPPORTED_PARAMETER),
        ({"tools": [function(name="a", returns={})]}, "tools[0].function.returns", Reason.UNSUPPORTED_PARAMETER),
        ({"tools": [{"type": "function"}]}, "tools[0].function", Reason.INVALID_REQUEST),
        ({"tools": [function()]}, "tools[0].function.name", Reason.INVALID_REQUEST),
        ({"tools": [function(name="a b")]}, "tools[0].function.name", Reason.INVALID_REQUEST),
        ({"tools": [function(name="a\n")]}, "tools[0].function.name", Reason.INVALID_REQUEST),
        ({"tools": [function(name="a" * 65)]}, "tools[0].function.name", Reason.INVALID_REQUEST),
        ({"tools": [function(name="")]}, "tools[0].function.name", Reason.INVALID_REQUEST),
        ({"tools": [LOOK_UP, LOOK_UP]}, "tools[1].function.name", Reason.INVALID_REQUEST),
        ({"tools": [LOOK_UP] * 129}, "tools", Reason.INVALID_REQUEST),
        ({"tools": [function(name="a", parameters=[])]}, "tools[0].function.parameters", Reason.INVALID_REQUEST),
        (
            {"tools": [function(name="a", parameters=nested(FREE_DEPTH_MAX + 1))]},
            "tools[0].function.parameters",
            Reason.INVALID_REQUEST,
        ),
        ({"tool_choice": LOOK_UP}, "tool_choice", Reason.INVALID_REQUEST),
        ({"tools": [LOOK_UP], "tool_choice": {"type": "function"}}, "tool_choice.function", Reason.INVALID_REQUEST),
        ({"tools": [LOOK_UP], "tool_choice": {"name": "look_up"}}, "tool_choice.name", Reason.UNSUPPORTED_PARAMETER),
        (
            {"tools": [LOOK_UP], "tool_choice": function(name="look_up", strict=True)},
            "tool_choice.function.strict",
            Reason.UNSUPPORTED_PARAMETER,
        ),
        (
            {"tools": [LOOK_UP], "tool_choice": function(name="other")},
            "tool_choice.function.name",
            Reason.INVALID_REQUEST,
        ),
        (
            {"tools": [LOOK_UP], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
            "tool_choice.type",
            Reason.UNSUPPORTED_PARAMETER,
        ),
    ],
    ids=str,
)
def test_refused(asked: dict[str, Any], param: str, reason: Reason) -> None:
    """A tool or choice that cannot be honoured is refused by its path."""
    with pytest.raises(Refusal) as caught:
        prompt(**asked)
    assert (caught.value.reason, caught.value.param) == (reason, param)


def test_as_many_tools_as_allowed() -> None:
    """128 tools may be sent, with names of 64 characters."""
    names = [f"{number:064d}" for number in range(128)]
    assert [tool.name for tool in prompt(tools=[function(name=name) for name in names]).tools] == names


def test_a_schema_as_deep_as_allowed() -> None:
    """A schema may nest exactly as deep as the bound."""
    assert prompt(tools=[function(name="a", parameters=nested(FREE_DEPTH_MAX))]).tools[0].parameters
