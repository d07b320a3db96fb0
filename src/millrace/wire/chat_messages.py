"""The messages of a chat: each role's rules, content parts joined, tool calls of earlier turns."""

from typing import Any, Literal, NoReturn

from msgspec import Struct

from millrace.generation.prompt import Message, ToolCall
from millrace.wire.json_body import invalid, unsupported


class _CalledFunction(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str


class _CallBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    type: str = "function"
    function: _CalledFunction | None = None
    custom: Any = None
    index: int | None = None  # what an accumulated stream leaves behind; the order is the list's


class MessageBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message as sent. An assistant's message may come back just as it was answered, with all its keys."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[_CallBody] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    annotations: Any = None
    refusal: str | None = None
    audio: Any = None
    function_call: Any = None


def parse_messages(bodies: list[MessageBody]) -> tuple[Message, ...]:
    """The messages in order; a Refusal names the first that breaks a rule by its path."""
    return tuple([_message(body, f"messages[{index}]") for index, body in enumerate(bodies)])


def _message(body: MessageBody, at: str) -> Message:
    if body.refusal is not None or body.audio is not None or body.function_call is not None:
        _refuse_extra(body, at)
    if body.role != "tool" and body.tool_call_id is not None:
        invalid(f"{at}.tool_call_id", f"is only for the role tool, not {body.role}")
    if body.role == "tool" and not body.tool_call_id:
        invalid(f"{at}.tool_call_id", "is required: a tool's answer names the call that it answers")
    if body.role != "assistant" and body.tool_calls:
        invalid(f"{at}.tool_calls", f"is only for the role assistant, not {body.role}")
    if body.content is None and not body.tool_calls:
        invalid(f"{at}.content", "is required")
    return Message(
        role=body.role,
        content=_text(body.content, at) if isinstance(body.content, list) else body.content,
        name=body.name,
        tool_calls=tuple([_call(call, f"{at}.tool_calls[{i}]") for i, call in enumerate(body.tool_calls or ())]),
        tool_call_id=body.tool_call_id,
    )


def _refuse_extra(body: MessageBody, at: str) -> NoReturn:
    if body.refusal is not None:
        unsupported(f"{at}.refusal", "is not supported; send the text as content")
    if body.audio is not None:
        unsupported(f"{at}.audio", "models here read text only")
    unsupported(f"{at}.function_call", "is deprecated and not supported; use tool_calls")


def _text(parts: list[dict[str, Any]], at: str) -> str:
    if not parts:
        invalid(f"{at}.content", "has no parts")
    return "".join([_part(part, f"{at}.content[{index}]") for index, part in enumerate(parts)])


def _part(part: dict[str, Any], at: str) -> str:
    kind = part.get("type")
    if not isinstance(kind, str):
        invalid(f"{at}.type", "is required and must be a string")
    if kind != "text":
        unsupported(f"{at}.type", f"{kind[:40]!r} is not supported: models here read text parts only")
    text = part.get("text")
    if not isinstance(text, str):
        invalid(f"{at}.text", "is required and must be a string")
    for name in part:
        if name not in {"type", "text"}:
            unsupported(f"{at}.{name[:100]}", "this parameter is not known here")
    return text


def _call(call: _CallBody, at: str) -> ToolCall:
    if call.type != "function":
        unsupported(f"{at}.type", f"{call.type[:40]!r} is not supported: only functions can be called")
    if call.function is None:
        invalid(f"{at}.function", "is required")
    return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
