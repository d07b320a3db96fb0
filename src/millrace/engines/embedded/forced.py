"""A tool call that must be made, by grammar.

Theory of operation. Where a call is required, llama.cpp's own grammar lets the model talk as long as it likes before it
calls, so that a small model may use up its tokens with talk. Here the whole answer is held to the JSON schema of
`{"name", "arguments"}` instead, one alternative for each tool that may be called, and the JSON is taken apart again. It is
released when it is complete: a call is of no use before, and nobody pays for one that was cancelled half-way.

Not covered: several calls in one forced answer (there is always exactly one), and log probabilities of its tokens.
"""

import hashlib
import re
from typing import Any

import msgspec

from millrace.generation.chunk import Chunk, Finish, ToolCallDelta
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt, Prompt, Tool

Json = dict[str, Any]

_DEFINITIONS = ("$defs", "definitions")  # what a `$ref` of a tool's schema points into, from the root
_NAME = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"]*)"')
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*(.*)', re.DOTALL)


def forced_schema(prompt: Prompt) -> Json | None:
    """The schema of the call that a prompt requires; None where none is required."""
    if not isinstance(prompt, ChatPrompt) or prompt.tool_choice is None or prompt.tool_choice.mode != "required":
        return None
    tools = [tool for tool in prompt.tools if prompt.tool_choice.name in {None, tool.name}]
    schema: Json = {"anyOf": [_call_schema(tool) for tool in tools]}
    for tool in tools:
        for where in _DEFINITIONS:
            if where in (tool.parameters or {}):
                schema[where] = schema.get(where, {}) | (tool.parameters or {})[where]
    return schema


class ForcedCalls:
    """Turns the chunks of an answer that is held to `forced_schema` into the call it spells, one for each choice."""

    def __init__(self, order: Order) -> None:
        self._request_id = order.request_id
        self._spelled = [""] * order.choices

    def take(self, chunk: Chunk) -> list[Chunk]:
        """Nothing until the choice has ended; then its call, with the counts of everything up to here."""
        self._spelled[chunk.choice] += chunk.text
        if chunk.finish is None:
            return []
        spelled = self._spelled[chunk.choice]
        finish = Finish.TOOL_CALLS if _is_json(spelled) else chunk.finish
        counts, counted_by = chunk.counts, chunk.counted_by
        delta = parse_call(spelled, f"{self._request_id} {chunk.choice}")
        calls = () if delta is None else (delta,)
        return [Chunk(counts, choice=chunk.choice, finish=finish, tool_calls=calls, counted_by=counted_by)]


def parse_call(spelled: str, of: str) -> ToolCallDelta | None:
    """The call that a text spells; arguments that were cut short are given as far as they came."""
    name = _NAME.match(spelled)
    if name is None:
        return None
    identifier = f"call_{hashlib.blake2b(of.encode(), digest_size=12).hexdigest()}"
    found = _ARGUMENTS.search(spelled, name.end())
    arguments = "" if found is None else found[1]
    if _is_json(spelled):
        arguments = arguments.rstrip().removesuffix("}").rstrip()
    return ToolCallDelta(0, identifier, name[1], arguments)


def _call_schema(tool: Tool) -> Json:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": tool.parameters or {"type": "object"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
