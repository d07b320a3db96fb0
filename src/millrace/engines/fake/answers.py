"""What the fake upstream answers; pure: the bytes of a body → the bytes of the response, in bursts to be paced."""

import functools
from typing import Any, Literal

import msgspec
from msgspec import Struct

from millrace.engines.fake import text
from millrace.engines.fake.plan import Step, bursts, likelihoods, plan_choice
from millrace.engines.fake.script import FakeScript
from millrace.generation.order import Order, ResponseFormat, Sampling
from millrace.generation.prompt import ChatPrompt, Message, Prompt, TextPrompt, Tool, ToolCall, ToolChoice

TOKENS_WHERE_NONE_ARE_SAID = 4_096
"""max_tokens of a request that sets none."""

Usage = Literal["continuous", "final", "none"]
Json = dict[str, Any]


class Behaviour(Struct, frozen=True, kw_only=True):
    """How the fake upstream differs from a good vLLM."""

    script: FakeScript = FakeScript()
    usage: Usage = "continuous"
    """The most usage it sends, whatever is asked for."""
    refuses: frozenset[str] = frozenset()
    """Names of body fields, or of `stream_options` fields, that it answers with 400 and the name."""
    context_tokens: int = 32_768
    status: int = 200
    """Anything else is the answer to every request for tokens, with `error` as its message."""
    error: str = "the fake upstream was told to fail"
    retry_after_s: int | None = None
    model: str = "fake"
    api_key: str | None = None
    embedding_dimensions: int = 64


class Burst(Struct, frozen=True):
    """Bytes that leave together, and how many tokens are made when they do."""

    body: bytes
    tokens: int


class Answer(Struct, frozen=True):
    """A response: one body, or the bursts of a stream. `cut`: the connection breaks at their end; `hang`: it waits."""

    status: int = 200
    body: bytes = b""
    tokens: int = 0
    bursts: tuple[Burst, ...] = ()
    ending: Literal["done", "cut", "hang"] = "done"


class _Asked(Struct):
    """The fields of all three endpoints that change an answer here."""

    model: str = ""
    messages: list[Json] = []
    prompt: str | None = None
    input: str | list[str] = []
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: dict[str, bool] | None = None
    n: int | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    tools: list[Json] = []
    tool_choice: str | Json | None = None
    response_format: Json | None = None
    reasoning_effort: str | None = None


@functools.lru_cache(maxsize=1024)
def answer(path: str, body: bytes, behaviour: Behaviour) -> Answer:
    """The answer to one request; the same request always gets the same, so benches pay for it once."""
    try:
        asked = msgspec.json.decode(body, type=_Asked)
        names = msgspec.json.decode(body, type=dict[str, Any]).keys() | (asked.stream_options or {}).keys()
    except msgspec.DecodeError as error:
        return _error(400, f"the body is not understood: {error}")
    refused = sorted(names & behaviour.refuses)
    if refused:
        return _error(400, f"unknown parameter {refused[0]}", refused[0])
    if path.endswith("/embeddings"):
        return _embeddings(asked, behaviour)
    order = _order(asked)
    input_tokens = text.count_prompt(order.prompt)
    room = behaviour.context_tokens - input_tokens
    if room < 1:
        return _error(400, f"the prompt has {input_tokens} tokens; maximum context length is {behaviour.context_tokens}")
    plans = [plan_choice(order, behaviour.script, index, min(order.max_tokens, room)) for index in range(order.choices)]
    said = _Said(order, asked, behaviour, plans, input_tokens)
    return said.stream() if asked.stream else said.whole()


class _Said:
    """Renders the planned steps of one request."""

    def __init__(self, order: Order, asked: _Asked, behaviour: Behaviour, plans: list[list[Step]], input_tokens: int) -> None:
        self._order = order
        self._chat = isinstance(order.prompt, ChatPrompt)
        self._behaviour = behaviour
        self._plans = plans
        self._input = input_tokens
        self._cached = input_tokens * behaviour.script.cached_input_percent // 100
        options = asked.stream_options or {}
        self._final = bool(options.get("include_usage")) and behaviour.usage != "none"
        self._continuous = bool(options.get("continuous_usage_stats")) and behaviour.usage == "continuous"
        self._made = [0] * len(plans)
        self._reasoning = 0

    def whole(self) -> Answer:
        choices = [self._choice(index, plan) for index, plan in enumerate(self._plans)]
        made = sum(step.made for plan in self._plans for step in plan)
        self._reasoning = sum(bool(step.reasoning) for plan in self._plans for step in plan)
        body = self._envelope(choices) | {"object": "chat.completion" if self._chat else "text_completion"}
        if self._behaviour.usage != "none":
            body["usage"] = self._usage(made)
        return Answer(body=msgspec.json.encode(body), tokens=made)

    def stream(self) -> Answer:
        script = self._behaviour.script
        limit = min((at for at in (script.fail_after_tokens, script.hang_after_tokens) if at is not None), default=None)
        out: list[Burst] = []
        opening = b"".join(self._opening(index) for index in range(len(self._plans))) if self._chat else b""
        for burst in bursts(self._plans, script.burst):
            pieces = [opening]
            before = sum(self._made)
            for index, step in burst:
                if step.made and sum(self._made) == limit:
                    out.append(Burst(b"".join(pieces), sum(self._made) - before))
                    return Answer(bursts=tuple(out), ending="cut" if limit == script.fail_after_tokens else "hang")
                pieces.append(self._step(index, step))
            out.append(Burst(b"".join(pieces), sum(self._made) - before))
            opening = b""
        ending = b"data: [DONE]\n\n"
        if self._final:
            ending = _event(self._envelope([]) | {"usage": self._usage(sum(self._made))}) + ending
        out[-1] = Burst(out[-1].body + ending, out[-1].tokens)
        return Answer(bursts=tuple(out))

    def _opening(self, index: int) -> bytes:
        frame = self._envelope([{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        return _event(frame | {"usage": self._usage(0)} if self._continuous else frame)

    def _step(self, index: int, step: Step) -> bytes:
        self._made[index] += step.made
        self._reasoning += bool(step.reasoning)
        choice: Json = {"index": index, "finish_reason": step.finish}
        if self._chat:
            choice["delta"] = _delta(step)
        else:
            choice["text"] = step.text
        if logprobs := likelihoods(self._order, step):
            choice["logprobs"] = {"content": [_logprob(one.token, one.logprob, one.top) for one in logprobs]}
        frame = self._envelope([choice])
        return _event(frame | {"usage": self._usage(self._made[index])} if self._continuous else frame)

    def _choice(self, index: int, plan: list[Step]) -> Json:
        choice: Json = {"index": index, "finish_reason": plan[-1].finish}
        said = "".join(step.text for step in plan)
        if not self._chat:
            return choice | {"text": said}
        message: Json = {"role": "assistant", "content": said}
        if reasoning := "".join(step.reasoning for step in plan):
            message["reasoning_content"] = reasoning
        calls = [delta for step in plan for delta in step.tool_calls]
        if calls:
            arguments = "".join(delta.arguments for delta in calls)
            function = {"name": calls[0].name, "arguments": arguments}
            message["tool_calls"] = [{"id": calls[0].id, "type": "function", "function": function}]
        logprobs = [one for step in plan for one in likelihoods(self._order, step) or ()]
        if logprobs:
            choice["logprobs"] = {"content": [_logprob(one.token, one.logprob, one.top) for one in logprobs]}
        return choice | {"message": message}

    def _envelope(self, choices: list[Json]) -> Json:
        name = "chat.completion.chunk" if self._chat else "text_completion"
        model = self._behaviour.model
        return {"id": "cmpl-fake", "object": name, "created": 0, "model": model, "choices": choices}

    def _usage(self, made: int) -> Json:
        return {
            "prompt_tokens": self._input,
            "completion_tokens": made,
            "total_tokens": self._input + made,
            "prompt_tokens_details": {"cached_tokens": self._cached},
            "completion_tokens_details": {"reasoning_tokens": self._reasoning},
        }


def _event(frame: Json) -> bytes:
    return b"data: " + msgspec.json.encode(frame) + b"\n\n"


def _delta(step: Step) -> Json:
    delta: Json = {}
    if step.text:
        delta["content"] = step.text
    if step.reasoning:
        delta["reasoning_content"] = step.reasoning
    if step.tool_calls:
        delta["tool_calls"] = [
            {"index": one.index, "function": {"arguments": one.arguments}}
            if one.name is None
            else {
                "index": one.index,
                "id": one.id,
                "type": "function",
                "function": {"name": one.name, "arguments": one.arguments},
            }
            for one in step.tool_calls
        ]
    return delta


def _logprob(token: str, logprob: float, top: tuple[tuple[str, float], ...]) -> Json:
    others = [{"token": other, "logprob": likelihood} for other, likelihood in top]
    return {"token": token, "logprob": logprob, "top_logprobs": others}


def _embeddings(asked: _Asked, behaviour: Behaviour) -> Answer:
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    data = [
        {"object": "embedding", "index": index, "embedding": text.unit_vector(one, behaviour.embedding_dimensions)}
        for index, one in enumerate(texts)
    ]
    tokens = sum(len(text.split_tokens(one)) for one in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "model": behaviour.model, "data": data, "usage": usage}
    return Answer(body=msgspec.json.encode(body))


def _error(status: int, message: str, param: str | None = None) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": status}
    return Answer(status=status, body=msgspec.json.encode({"error": error}))


def _order(asked: _Asked) -> Order:
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()) or None
    logprobs = asked.logprobs is not None and asked.logprobs is not False
    top = asked.top_logprobs if isinstance(asked.logprobs, bool) else asked.logprobs
    limit = asked.max_completion_tokens or asked.max_tokens or TOKENS_WHERE_NONE_ARE_SAID
    sampling = Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=asked.seed,
        stop=stop,
        n=asked.n,
        logprobs=logprobs or None,
        top_logprobs=top,
        response_format=_format(asked.response_format),
        reasoning_effort=asked.reasoning_effort,
    )
    return Order(request_id="", prompt=_prompt(asked), sampling=sampling, max_tokens=limit, stream=asked.stream)


def _prompt(asked: _Asked) -> Prompt:
    if asked.prompt is not None:
        return TextPrompt(text=asked.prompt)
    choice: ToolChoice | None = None
    if isinstance(asked.tool_choice, dict):
        choice = ToolChoice(mode="required", name=asked.tool_choice["function"]["name"])
    elif asked.tool_choice is not None:
        choice = msgspec.convert({"mode": asked.tool_choice}, ToolChoice)
    tools = tuple(msgspec.convert(tool["function"], Tool) for tool in asked.tools)
    return ChatPrompt(messages=tuple(map(_message, asked.messages)), tools=tools, tool_choice=choice)


def _message(said: Json) -> Message:
    content = said.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    calls = tuple(ToolCall(id=call["id"], **call["function"]) for call in said.get("tool_calls") or ())
    return Message(role=said["role"], content=content, tool_calls=calls, tool_call_id=said.get("tool_call_id"))


def _format(said: Json | None) -> ResponseFormat | None:
    if said is None:
        return None
    return ResponseFormat(kind=said["type"], schema=said.get("json_schema", {}).get("schema"))
