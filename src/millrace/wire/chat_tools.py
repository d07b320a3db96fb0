"""The tools of a chat: functions that the model may call, and whether it may, must or must not."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from millrace.generation.prompt import Tool, ToolChoice
from millrace.wire.json_body import check_depth, invalid, unsupported

_Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]


class _FunctionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool as sent; its type says which of the other keys is used."""

    type: str
    function: _FunctionBody | None = None
    custom: Any = None


class _FunctionName(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class ChoiceBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool_choice that is an object: one function by its name."""

    type: str
    function: _FunctionName | None = None
    allowed_tools: Any = None
    custom: Any = None


def parse_tools(bodies: list[ToolBody]) -> tuple[Tool, ...]:
    """The tools, each name once."""
    tools = tuple([_tool(body, f"tools[{index}]") for index, body in enumerate(bodies)])
    names: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in names:
            invalid(f"tools[{index}].function.name", f"{tool.name!r} is there twice")
        names.add(tool.name)
    return tools


def parse_tool_choice(
    asked: Literal["auto", "none", "required"] | ChoiceBody | None, tools: tuple[Tool, ...]
) -> ToolChoice | None:
    """None is the API's default: with tools, the model chooses; without, there is nothing to choose."""
    if asked is None or asked == "auto" or (asked == "none" and not tools):
        return None
    if not tools:
        invalid("tool_choice", "needs tools to choose from")
    if isinstance(asked, str):
        return ToolChoice(mode=asked)
    if asked.type != "function":
        unsupported("tool_choice.type", f"{asked.type[:40]!r} is not supported; name a function, or narrow tools")
    if asked.function is None:
        invalid("tool_choice.function", "is required")
    if all(tool.name != asked.function.name for tool in tools):
        invalid("tool_choice.function.name", f"{asked.function.name[:64]!r} is not among tools")
    return ToolChoice(mode="required", name=asked.function.name)


def _tool(body: ToolBody, at: str) -> Tool:
    if body.type != "function":
        unsupported(f"{at}.type", f"{body.type[:40]!r} is not supported: a tool is a function")
    if body.function is None:
        invalid(f"{at}.function", "is required")
    check_depth(f"{at}.function.parameters", body.function.parameters)
    return Tool(
        name=body.function.name,
        description=body.function.description,
        parameters=body.function.parameters,
        strict=body.function.strict,
    )
