"""Conversations into tokens, and which of them are learned. One way, for counting, for the price and for training.

The text is the base's own chat template, filled with the same values that llama.cpp gives it when it serves: the
arguments of a call as an object, whole numbers without a fraction. What is learned of an assistant's turn is what an
engine would make there: everything between the prompt that a server would send and the token that ends the turn,
included. It is found by rendering that prompt, so no template needs marks for it.

Not covered: a template that writes an earlier turn differently once later ones follow, in front of a learned turn. Such a
line is refused, and says what to do.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from millrace.generation.prompt import Message, Tool, ToolCall
from millrace.tuning.data import Example, Problem

Json = dict[str, Any]

_EXACT: Final = 10**15
"""Numbers below are written without an exponent by everybody."""

_TURN_ENDS: Final = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "</s>", "<|end_of_text|>")


class Tokenizer(Protocol):
    """What is used of transformers' fast tokenizers."""

    eos_token_id: int | None

    def __call__(self, text: str, *, add_special_tokens: bool, return_offsets_mapping: bool) -> Any: ...

    def apply_chat_template(
        self, conversation: list[Json], *, tools: list[Json] | None, tokenize: bool, add_generation_prompt: bool
    ) -> Any: ...

    def get_vocab(self) -> dict[str, int]: ...


class Rendered(NamedTuple):
    """An example as the network reads it. `labels` are its tokens where they are learned, else IGNORED."""

    line: int
    tokens: list[int]
    labels: list[int]


IGNORED: Final = -100
"""What transformers leaves out of the loss."""


class Rendering(NamedTuple):
    rendered: list[Rendered]
    problems: list[Problem]


class Renderer:
    """Renders with one base's tokenizer and template."""

    def __init__(self, tokenizer: Tokenizer, context_tokens: int) -> None:
        vocabulary = tokenizer.get_vocab()
        self._tokenizer = tokenizer
        self._context = context_tokens
        self._ends: set[int | None] = {tokenizer.eos_token_id} | {vocabulary[name] for name in _TURN_ENDS if name in vocabulary}

    def render_all(self, examples: Iterable[Example]) -> Rendering:
        """Every example, or why it cannot be trained on this base; nothing is cut to fit."""
        rendering = Rendering([], [])
        for example in examples:
            found = self.render(example)
            if isinstance(found, Problem):
                rendering.problems.append(found)
            else:
                rendering.rendered.append(found)
        return rendering

    def render(self, example: Example) -> Rendered | Problem:
        messages = [to_template(message) for message in example.messages]
        tools = [tool_to_template(tool) for tool in example.tools] or None
        whole = self._text(messages, tools, prompt=False)
        starts: list[int] = []
        for index, learned in enumerate(example.learned):
            if learned:
                before = self._text(messages[:index], tools, prompt=True)
                if not whole.startswith(before):
                    return Problem(example.line, _rewritten(index))
                starts.append(len(before))
        return self._labelled(example.line, whole, starts)

    def _text(self, messages: list[Json], tools: list[Json] | None, *, prompt: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=prompt)
        return text

    def _labelled(self, line: int, text: str, starts: Sequence[int]) -> Rendered | Problem:
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        tokens: list[int] = list(encoded["input_ids"])
        if len(tokens) > self._context:
            return Problem(
                line, f"has {len(tokens)} tokens, more than the context of {self._context}; split or shorten the conversation"
            )
        labels = [IGNORED] * len(tokens)
        begins = [begin for begin, _ in encoded["offset_mapping"]]
        for start in starts:
            at = next((index for index, begin in enumerate(begins) if begin >= start), len(tokens))
            while at < len(tokens):
                labels[at] = tokens[at]
                if tokens[at] in self._ends:
                    break
                at += 1
        return Rendered(line, tokens, labels)


def to_template(message: Message) -> Json:
    """A message as llama.cpp hands it to a template."""
    body: Json = {"role": "system" if message.role == "developer" else message.role, "content": message.content}
    if message.name is not None:
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["tool_calls"] = [_call(call) for call in message.tool_calls]
    return body


def tool_to_template(tool: Tool) -> Json:
    said = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function: Json = {"name": tool.name} | {name: value for name, value in said.items() if value is not None}
    return {"type": "function", "function": plain(function)}


def plain(value: Any) -> Any:
    """Whole numbers without a fraction, everywhere in it: 2.0 is written as 2."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and abs(value) < _EXACT and value.is_integer():
        return int(value)
    return value


def _call(call: ToolCall) -> Json:
    arguments = plain(json.loads(call.arguments))
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _rewritten(index: int) -> str:
    return (
        f"messages[{index}] cannot be learned here: the base's chat template rewrites what stands before it once later "
        "messages follow; make it the last message of a line of its own, or give it weight 0"
    )
