"""A GGUF file in llama.cpp, in this process: what it answers to a conversation, with tools or without.

One caller and one thread, at temperature 0 unless another is asked for: the same file gives the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.request import Request, urlopen

import xllamacpp
from models.tiny.tools import Call, Said, Tool

ANSWER_TOKENS_MAX = 200  # far above any answer of the training data: who reaches it did not end by itself
CONTEXT = 2048

Messages = list[dict[str, Any]]


class Answer(NamedTuple):
    """What came back: text, calls, why it ended (`stop` and `tool_calls` are the model's own ends), tokens per second."""

    text: str
    calls: tuple[Call, ...] = ()
    ended: str = "stop"
    speed: float = 0.0

    @property
    def by_itself(self) -> bool:
        return self.ended in ("stop", "tool_calls")


class Answers(Protocol):
    """What a conversation needs of a model."""

    def answer(self, messages: Messages, tools: Sequence[Tool] = (), **more: Any) -> Answer: ...


class Served:
    """A loaded file, with its own chat template or the one given."""

    def __init__(self, model: Path, template: str | None = None) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.hostnames, params.port, params.ui = ["127.0.0.1"], 0, False
        params.n_ctx, params.n_parallel, params.use_jinja, params.verbosity = CONTEXT, 1, True, -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.n_gpu_layers = 0
        params.prefill_assistant = False  # a conversation may end with the assistant's words, and goes on after them
        if template is not None:
            params.chat_template = template
        self._server = xllamacpp.Server(params)

    def answer(self, messages: Messages, tools: Sequence[Tool] = (), **more: Any) -> Answer:
        """What comes next in a conversation; `more` goes to llama.cpp as it is. An error of llama.cpp ends it as `error`."""
        asked: dict[str, Any] = {"messages": messages, "temperature": 0.0, "max_tokens": ANSWER_TOKENS_MAX, "seed": 1} | more
        if tools:
            asked["tools"] = [tool.declared() for tool in tools]
        return _read(self._server.handle_chat_completions(asked))

    def template(self, messages: Messages, tools: Sequence[Tool] = ()) -> str:
        """The text that llama.cpp makes of a conversation."""
        asked = {"messages": messages} | ({"tools": [tool.declared() for tool in tools]} if tools else {})
        prompt: str = self._post("/apply-template", asked)["prompt"]
        return prompt

    def tokens(self, text: str) -> list[int]:
        found: list[int] = self._post("/tokenize", {"content": text, "parse_special": True})["tokens"]
        return found

    def complete(self, tokens: list[int], **more: Any) -> Any:
        """llama.cpp's own reply to a text of tokens that is to go on."""
        return self._post("/completion", {"prompt": tokens, "temperature": 0.0, "seed": 1} | more)

    def _post(self, path: str, body: Any) -> Any:
        headers = {"content-type": "application/json"}
        request = Request(self._server.listening_address + path, json.dumps(body).encode(), headers)  # noqa: S310 - ourselves
        with urlopen(request) as reply:  # noqa: S310 - ourselves
            return json.load(reply)


def as_messages(system: str, turns: Sequence[Said]) -> Messages:
    """Turns in the form of the OpenAI API."""
    messages: Messages = [{"role": "system", "content": system}] if system else []
    for place, turn in enumerate(turns):
        if turn.role == "tool":
            messages.append({"role": "tool", "tool_call_id": f"call_{place - 1}", "content": turn.text})
        elif turn.call is None:
            messages.append({"role": turn.role, "content": turn.text})
        else:
            function = {"name": turn.call.name, "arguments": json.dumps(turn.call.arguments, ensure_ascii=False)}
            call = {"id": f"call_{place}", "type": "function", "function": function}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    return messages


def _read(reply: Any) -> Answer:
    if "choices" not in reply:
        return Answer(json.dumps(reply), ended="error")
    choice = reply["choices"][0]
    message = choice["message"]
    calls = tuple(_call(call["function"]) for call in message.get("tool_calls") or ())
    speed = reply.get("timings", {}).get("predicted_per_second", 0.0)
    return Answer((message.get("content") or "").strip(), calls, choice["finish_reason"], speed)


def _call(function: Any) -> Call:
    """A call whose arguments are no JSON object, as in a cut answer, has none that match anything."""
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = None
    return Call(function["name"], arguments if isinstance(arguments, dict) else {"": function["arguments"]})
