"""The fake engine: the real protocol, scripted behaviour, and a record of what it really made."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.engines.fake import text
from millrace.engines.fake.plan import Step, bursts, likelihoods, plan_choice
from millrace.engines.fake.script import FakeScript, FakeSettings
from millrace.engines.life import Life
from millrace.engines.protocol import Embeddings, EngineState, PromptSize, broke, makes_no_embeddings
from millrace.generation.chunk import Chunk, CountedBy, TokenCounts
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt, Prompt

REMEMBERED: Final = 65_536
"""Requests whose truth is kept, the newest: a bench with millions of requests must not grow the process."""


class FakeEngine:
    """Answers by `text`, as `script` says. `generated` is the truth that bills are compared with."""

    def __init__(self, settings: FakeSettings, clock: Clock) -> None:
        self.settings = settings
        self.script: FakeScript = settings.script
        self.generated: dict[str, int] = {}
        """Output tokens really made, by request, over all its attempts on this engine."""
        self.orders: deque[Order] = deque(maxlen=REMEMBERED)
        """The orders it was given, oldest first."""
        self.live = 0
        """Orders in work now."""
        self._clock = clock
        self._life = Life(settings.model)
        self._loading: asyncio.Task[None] | None = None

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
        self._life.become(EngineState.LOADING)
        if self.script.load_delay_s:
            self._loading = asyncio.create_task(self._load(self.script.load_delay_s))
        else:
            self._life.become(EngineState.READY)

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        if self.state is not EngineState.STOPPED:
            self._life.become(EngineState.STOPPED)

    def break_down(self, failure: str = "the fake engine was told to break") -> None:
        """FAILED from now on; orders in work end with ENGINE_FAILED at their next token."""
        self._life.become(EngineState.FAILED, failure)

    def recover(self) -> None:
        """READY again after `break_down`."""
        self._life.become(EngineState.LOADING)
        self._life.become(EngineState.READY)

    async def measure(self, prompt: Prompt) -> PromptSize:
        self._life.require_ready()
        return PromptSize(text.count_prompt(prompt), exact=True)

    async def generate(self, order: Order) -> AsyncGenerator[Chunk, None]:
        self._life.require_ready()
        script = self.script
        self.orders.append(order)
        if script.refuse is not None:
            sentence = f"the fake engine refuses, as its script says: {script.refuse}"
            raise Refusal(script.refuse, sentence, retry_after_s=1)
        plans, input_tokens = self._plan(order, script)
        cached = input_tokens * script.cached_input_percent // 100
        output = reasoning = 0
        self.live += 1
        try:
            await self._pause(script.first_token_delay_s)
            for burst in bursts(plans, script.burst):
                await self._pause(script.token_delay_s)
                for place, (choice, step) in enumerate(burst, 1):
                    if step.made:
                        await self._maybe_break(script, output)
                        output += 1
                        reasoning += bool(step.reasoning)
                        self._remember(order.request_id)
                    counts = TokenCounts(input_tokens, cached, output, reasoning)
                    yield _chunk(order, choice, step, counts, more=place < len(burst))
        finally:
            self.live -= 1

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        self._life.require_ready()
        if not self.embeds:
            raise makes_no_embeddings(self.settings.model)
        vectors = tuple(text.unit_vector(one, self.settings.embedding_dimensions) for one in texts)
        return Embeddings(vectors, sum(len(text.split_tokens(one)) for one in texts), CountedBy.ENGINE)

    async def _load(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._life.become(EngineState.READY)

    def _plan(self, order: Order, script: FakeScript) -> tuple[list[list[Step]], int]:
        """All steps of all choices, before the first of them is taken; refuses what does not fit the context."""
        input_tokens = text.count_prompt(order.prompt)
        room = self.settings.context_tokens - input_tokens
        if room < 1:
            raise Refusal(
                Reason.CONTEXT_LENGTH_EXCEEDED,
                f"the prompt has {input_tokens} tokens and model {self.settings.model!r} takes "
                f"{self.settings.context_tokens} with the answer; shorten the prompt",
                param="messages" if isinstance(order.prompt, ChatPrompt) else "prompt",
            )
        limit = min(order.max_tokens, room)
        return [plan_choice(order, script, choice, limit) for choice in range(order.choices)], input_tokens

    async def _pause(self, seconds: float) -> None:
        """A real engine always lets others run between its tokens, so this one does too."""
        if seconds:
            await self._clock.sleep(seconds)
        else:
            await asyncio.sleep(0)

    async def _maybe_break(self, script: FakeScript, output: int) -> None:
        if self.state is not EngineState.READY or output == script.fail_after_tokens:
            raise broke(self.settings.model)
        if output == script.hang_after_tokens:
            await asyncio.get_running_loop().create_future()

    def _remember(self, request_id: str) -> None:
        self.generated[request_id] = self.generated.get(request_id, 0) + 1
        if len(self.generated) > REMEMBERED:
            del self.generated[next(iter(self.generated))]


def _chunk(order: Order, choice: int, step: Step, counts: TokenCounts, *, more: bool) -> Chunk:
    return Chunk(
        counts=counts,
        text=step.text,
        reasoning=step.reasoning,
        choice=choice,
        finish=step.finish,
        tool_calls=step.tool_calls,
        logprobs=likelihoods(order, step),
        more=more,
    )
