"""What a model is given: a chat, or plain text to continue. Parsed once at the edge (wire), frozen from then on."""

from typing import Any, Literal

from msgspec import Struct


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call the model made earlier in the chat; `arguments` is JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True, kw_only=True):
    """One turn of a chat. `content` is text; a turn that only calls tools has None."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """A function that the model may call; `parameters` is a JSON schema, passed through as it came."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Struct, frozen=True, kw_only=True):
    """Whether a tool may, must or must not be called; `name` forces one by name (mode is 'required' then)."""

    mode: Literal["auto", "none", "required"]
    name: str | None = None


class ChatPrompt(Struct, frozen=True, kw_only=True):
    """A chat, with the tools that the model may call."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None


class TextPrompt(Struct, frozen=True, kw_only=True):
    """Text to be continued without any template."""

    text: str


Prompt = ChatPrompt | TextPrompt
