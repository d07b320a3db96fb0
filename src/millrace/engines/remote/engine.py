"""The remote engine: orders rendered to an OpenAI-compatible server, its frames metered into chunks."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import Final

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.engines.life import Life
from millrace.engines.protocol import Embeddings, EngineState, PromptSize, broke, makes_no_embeddings
from millrace.engines.remote.settings import RemoteSettings
from millrace.engines.remote.watch import Watch
from millrace.engines.supervisor import Served, Supervisor
from millrace.engines.upstream.answers import burst, embed_upstream, whole
from millrace.engines.upstream.client import Client, FrameStream, Upstream
from millrace.engines.upstream.meter import CountText, Meter, one_per_piece
from millrace.engines.upstream.render import Call, Json, encode, render_order, render_prompt
from millrace.generation.chunk import Chunk
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt, Prompt

TOKENS_PER_MESSAGE_MAX: Final = 16
"""What a chat template puts around one message: role, separators, the name of a tool."""

USAGE_LEVELS: Final[tuple[Json, ...]] = (
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"stream_options": {"include_usage": True}},
    {},
)
"""What usage is asked for, best first."""

_REFUSED_ORDER = frozenset({Reason.INVALID_REQUEST, Reason.UNSUPPORTED_PARAMETER})


class RemoteEngine:
    """Any OpenAI-compatible server. What it cannot do it refuses, and the refusal is handed on by name."""

    def __init__(self, settings: RemoteSettings, clock: Clock, count_text: CountText = one_per_piece) -> None:
        self.settings = settings
        self._clock = clock
        self._count_text = count_text
        self._life = Life(settings.model)
        self._supervisor = Supervisor(self._life, clock, self._launch)
        self._client: Client | None = None
        self._prober: Client | None = None
        self._watch: Watch | None = None
        self._usage_level = 0

    @property
    def honours(self) -> frozenset[str]:
        return self.settings.honours

    @property
    def embeds(self) -> bool:
        return self.settings.embeds

    @property
    def state(self) -> EngineState:
        return self._life.state

    @property
    def failure(self) -> str | None:
        return self._life.failure

    async def decided(self) -> EngineState:
        return await self._life.decided()

    async def start(self) -> None:
        settings = self.settings
        upstream = Upstream(
            model=settings.model, url=settings.url.rstrip("/"), api_key=settings.api_key, timeouts=settings.timeouts
        )
        self._client = Client(upstream, connections_max=settings.connections_max, on_unreachable=self._doubt)
        self._prober = Client(upstream, connections_max=1)  # of its own: a full house is not a dead one
        self._supervisor.start()

    async def close(self) -> None:
        await self._supervisor.close()
        clients = (self._client, self._prober)
        self._client = self._prober = None
        for client in clients:
            if client is not None:
                await client.close()

    async def measure(self, prompt: Prompt) -> PromptSize:
        """An upper bound without the tokenizer: no token is shorter than a byte."""
        return PromptSize(_tokens_max(prompt, self.settings.template_tokens_max), exact=False)

    async def generate(self, order: Order) -> AsyncGenerator[Chunk, None]:
        client = self._ready()
        call = render_order(order, self.settings.upstream)
        meter = Meter(order, self._count_text)
        if not order.stream:
            answer = await client.post(call.path, encode(call.body), order.request_id)
            for chunk in whole(meter, answer, self.settings.model):
                yield chunk
            return
        async with AsyncExitStack() as stack:
            stream = await self._open(stack, client, call, order.request_id)
            while (frames := await stream.read()) is not None:
                for chunk in burst(meter, frames, self.settings.model):
                    yield chunk
        if not meter.complete:
            raise broke(self.settings.model)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        client = self._ready()
        if not self.embeds:
            raise makes_no_embeddings(self.settings.model)
        return await embed_upstream(client, self.settings.upstream, texts, self._count_text)

    async def _launch(self) -> Served:
        """Also runs again after each failure; the client and its pool stay."""
        assert self._prober is not None
        self._watch = Watch(self._prober, self._clock, self.settings.probe_path, self.settings.probe_every_s)
        return self._watch

    def _ready(self) -> Client:
        self._life.require_ready()
        assert self._client is not None
        return self._client

    def _doubt(self) -> None:
        if self._watch is not None:
            self._watch.doubt()

    async def _open(self, stack: AsyncExitStack, client: Client, call: Call, request_id: str) -> FrameStream:
        """Open the stream with as much usage as the server agrees to send; what it refuses is not asked again."""
        while True:
            level = self._usage_level
            try:
                body = encode(call.body | {"stream": True} | USAGE_LEVELS[level])
                return await stack.enter_async_context(client.open(call.path, body, request_id))
            except Refusal as refusal:
                if level + 1 == len(USAGE_LEVELS) or not _is_about_usage(refusal):
                    raise
                self._usage_level = max(self._usage_level, level + 1)


def _is_about_usage(refusal: Refusal) -> bool:
    said = f"{refusal.sentence} {refusal.param}"
    return refusal.reason in _REFUSED_ORDER and ("stream_options" in said or "usage" in said)


def _tokens_max(prompt: Prompt, template_tokens: int) -> int:
    """The bytes of what a template repeats as text; tools and calls as JSON in ASCII, since it may escape them."""
    if not isinstance(prompt, ChatPrompt):
        return len(prompt.text.encode()) + 1  # the beginning-of-text token
    tokens = template_tokens
    for message in prompt.messages:
        tokens += TOKENS_PER_MESSAGE_MAX + len((message.content or "").encode()) + len((message.name or "").encode())
        tokens += len((message.tool_call_id or "").encode())
    calls = [call for message in prompt.messages for call in message.tool_calls]
    if not prompt.tools and not calls:
        return tokens + 4  # the two empty forms below
    body = {name: value for name, value in render_prompt(prompt).items() if name == "tools"}
    return tokens + len(json.dumps(body)) + len(json.dumps([(call.id, call.name, call.arguments) for call in calls]))
