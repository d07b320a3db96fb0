"""What a scene is made of: tools as a caller declares them, calls, and turns; and how they become text.

`as_dialogue` writes exactly what chat_template.jinja does, so that training sees what llama.cpp will send.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from models.tiny.conversation import Dialogue, Turn

Arguments = Mapping[str, Any]
CALL = "<tool_call>"  # the mark that a call begins with


class Parameter(NamedTuple):
    """One argument: its JSON type, and its values where only some are allowed."""

    name: str
    kind: str = "string"
    values: tuple[str, ...] = ()
    required: bool = True


class Tool(NamedTuple):
    """A function that may be called, under the name that the caller gave it; `task` is what it does, for the desk."""

    name: str
    parameters: tuple[Parameter, ...]
    task: str = ""

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(_shown(parameter) for parameter in self.parameters)})"

    def declared(self) -> dict[str, Any]:
        """In the form of the OpenAI API."""
        properties = {
            one.name: {"type": one.kind} | ({"enum": list(one.values)} if one.values else {}) for one in self.parameters
        }
        required = [one.name for one in self.parameters if one.required]
        schema = {"type": "object", "properties": properties, "required": required}
        return {"type": "function", "function": {"name": self.name, "parameters": schema}}


class Call(NamedTuple):
    name: str
    arguments: Arguments


class Said(NamedTuple):
    """One turn: of the customer (`user`), the `assistant`, who speaks or calls, or a `tool`, whose result is its text."""

    role: str
    text: str
    call: Call | None = None


class Scene(NamedTuple):
    """A conversation with tools. Each call can be replayed against the tools, and gives the result that follows it."""

    system: str
    tools: tuple[Tool, ...]
    turns: tuple[Said, ...]


def as_dialogue(scene: Scene) -> Dialogue:
    """The scene as the chat template writes it; results are a user's turns there, as in Qwen3."""
    head = scene.system
    if scene.tools:
        listed = "\n".join(tool.signature for tool in scene.tools)
        head += ("\n\n" if head else "") + f"# Tools\n<tools>\n{listed}\n</tools>"
    turns = [Turn("system", head)] if head else []
    for turn in scene.turns:
        if turn.role == "tool":
            turns.append(Turn("user", f"<tool_response>\n{turn.text}\n</tool_response>"))
        else:
            turns.append(Turn(turn.role, turn.text if turn.call is None else call_text(turn.call)))
    return tuple(turns)


def call_text(call: Call) -> str:
    """A call between its marks."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return f'{CALL}\n{{"name": "{call.name}", "arguments": {arguments}}}\n</tool_call>'


def _shown(parameter: Parameter) -> str:
    optional = "" if parameter.required else "?"
    if parameter.values:
        return f"{parameter.name}{optional}: {'|'.join(parameter.values)}"
    kind = "" if parameter.kind == "string" else f": {parameter.kind}"
    return f"{parameter.name}{optional}{kind}"
