"""The embedded engine: orders to llama.cpp over loopback, with the exact counts of its timings on every chunk.

Every order is streamed, also one that wants the whole answer at once: while tokens flow llama.cpp notices within
milliseconds that the reader of a stream has gone, but only after seconds that nobody waits for a whole answer; and for
several choices it counts only one of them in a whole answer.

Not covered: an order that is left before its first token, while its prompt is read or waits for a slot. A quiet llama.cpp
notices that within two seconds, a busy one only at the first token (its one-second look at the connection starts anew with
each result of any request). The work is lost, but nobody is billed for it. A seed gives the same answer again only as far
as the batch and the cache it is computed in do not change the last digits.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.engines.embedded.follower import Feed, Follower, Standing
from millrace.engines.embedded.forced import ForcedCalls, forced_schema
from millrace.engines.embedded.links import Links, TemplateCapabilities
from millrace.engines.embedded.served import LlamaServer
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.life import Life
from millrace.engines.protocol import Embeddings, EngineState, PromptSize, broke, makes_no_embeddings
from millrace.engines.supervisor import Served, Supervisor
from millrace.engines.upstream.answers import burst, embed_upstream
from millrace.engines.upstream.meter import Meter, one_per_piece
from millrace.engines.upstream.render import Call, Json, encode, render_order, render_prompt
from millrace.generation.chunk import Chunk
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt, Prompt

ALWAYS_HONOURED: Final = frozenset({
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "logit_bias", "seed", "stop", "logprobs", "top_logprobs", "n", "response_format",
})  # fmt: skip

_SEEDS: Final = 2**32 - 1
"""llama.cpp's seeds have 32 bits, and the last one means 'any'."""


class _Counted(Struct):
    """The two forms in which llama.cpp counts a prompt: of a chat, and of plain text."""

    input_tokens: int | None = None
    tokens: list[int] | None = None


class EmbeddedEngine:
    """A GGUF file behind the engine protocol; its child is restarted with back-off whenever it dies.

    With a `feed` it launches nothing: it follows what the owner of the child says of it, as one of `sharers` processes.
    """

    def __init__(self, settings: EmbeddedSettings, clock: Clock, feed: Feed | None = None, sharers: int = 1) -> None:
        self.settings = settings
        self._life = Life(settings.model)
        self._server: LlamaServer | None = None
        self._follower = None if feed is None else Follower(self._life, settings, feed, sharers)
        self._keeper = self._follower or Supervisor(self._life, clock, self._launch)

    @property
    def honours(self) -> frozenset[str]:
        """What the sampler can do, and of tools and reasoning what the file's chat template can express. Until that is
        known nothing is ruled out: an order is then refused as ENGINE_UNAVAILABLE, not by parameter."""
        links = self._links
        if self.state is not EngineState.READY or links is None:
            return ALWAYS_HONOURED | {"tools", "parallel_tool_calls", "reasoning_effort"}
        return ALWAYS_HONOURED | honoured_by(links.template)

    @property
    def embeds(self) -> bool:
        return self.settings.embeddings

    @property
    def state(self) -> EngineState:
        return self._life.state

    @property
    def failure(self) -> str | None:
        return self._life.failure

    @property
    def pid(self) -> int | None:
        """The child's process id, for the operator."""
        return None if self._server is None else self._server.pid

    async def decided(self) -> EngineState:
        return await self._life.decided()

    async def standings(self) -> AsyncGenerator[Standing, None]:
        """How it stands now, and again after each step: what a `Feed` in another process is made of."""
        while True:
            told = self._standing()
            yield told
            while self._standing() == told:
                await self._life.step()

    async def start(self) -> None:
        self._keeper.start()

    async def close(self) -> None:
        await self._keeper.close()
        self._server = None

    async def measure(self, prompt: Prompt) -> PromptSize:
        """Exact: llama.cpp applies the template and counts, as it will when it generates."""
        client = self._ready().counting
        if isinstance(prompt, ChatPrompt):
            path, body = "/v1/chat/completions/input_tokens", _chat_body(prompt)
        else:
            path, body = "/tokenize", {"content": prompt.text, "add_special": True, "parse_special": True}
        answer = await client.post(path, encode(body))
        try:
            counted = msgspec.json.decode(answer, type=_Counted)
        except msgspec.DecodeError:
            raise broke(self.settings.model) from None
        tokens = len(counted.tokens) if counted.tokens is not None else counted.input_tokens
        if tokens is None:
            raise broke(self.settings.model)
        return PromptSize(tokens, exact=True)

    async def generate(self, order: Order) -> AsyncGenerator[Chunk, None]:
        client = self._ready().answers
        if order.choices > self.settings.slots:
            raise Refusal(
                Reason.UNSUPPORTED_PARAMETER,
                f"n: model {self.settings.model!r} makes at most {self.settings.slots} choices at a time",
                param="n",
            )
        call = render_call(order)
        meter = Meter(order, one_per_piece)
        forced = None if forced_schema(order.prompt) is None else ForcedCalls(order)
        async with client.open(call.path, encode(call.body), order.request_id) as stream:
            while (frames := await stream.read()) is not None:
                for chunk in burst(meter, frames, self.settings.model):
                    for released in (chunk,) if forced is None else forced.take(chunk):
                        yield released
        if not meter.complete:
            raise broke(self.settings.model)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        client = self._ready().vectors
        if client is None:
            raise makes_no_embeddings(self.settings.model)
        return await embed_upstream(client, self.settings.model, texts, one_per_piece)

    async def _launch(self) -> Served:
        self._server = await LlamaServer.launch(self.settings)
        return self._server

    @property
    def _links(self) -> Links | None:
        owner = self._follower or self._server
        return None if owner is None else owner.links

    def _ready(self) -> Links:
        self._life.require_ready()
        links = self._links
        assert links is not None
        return links

    def _standing(self) -> Standing:
        links = self._links if self.state is EngineState.READY else None
        return Standing(
            state=self.state, failure=self.failure,
            place=None if links is None else links.place, template=TemplateCapabilities() if links is None else links.template,
        )  # fmt: skip


def render_call(order: Order) -> Call:
    """An order in llama.cpp's dialect, streamed, with its running counts on every chunk."""
    call = render_order(order, "-")
    body = call.body | {"stream": True, "timings_per_token": True, "cache_prompt": True}
    if isinstance(order.prompt, ChatPrompt):
        body |= _chat_body(order.prompt)
    if "repetition_penalty" in body:
        body["repeat_penalty"] = body.pop("repetition_penalty")
    if order.sampling.logprobs:  # without alternatives llama.cpp sends none of the made tokens either
        body |= {"top_logprobs" if isinstance(order.prompt, ChatPrompt) else "logprobs": order.sampling.top_logprobs or 1}
    if "seed" in body:
        body["seed"] %= _SEEDS
    return Call(f"/v1{call.path}", body)


def _chat_body(prompt: ChatPrompt) -> Json:
    """A forced call is made by schema, so llama.cpp shows the tools to the model and need not look for calls itself."""
    schema = forced_schema(prompt)
    body = render_prompt(prompt)
    if schema is not None:
        body["tool_choice"] = "none"
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    return body


def honoured_by(template: TemplateCapabilities) -> frozenset[str]:
    tools = template.supports_tools and template.supports_tool_calls
    honoured = {
        "tools": tools,
        "parallel_tool_calls": tools and template.supports_parallel_tool_calls,
        "reasoning_effort": template.supports_reasoning_effort,
    }
    return frozenset(name for name, can in honoured.items() if can)
