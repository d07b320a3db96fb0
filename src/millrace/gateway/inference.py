"""One path for every inference request: admit, hold, generate, release, settle exactly once, whatever ends it.

A stream is settled before its last frame, which carries the settled usage. A whole answer is written down, sent, and then
settled: its usage is known before, and nobody is billed for an answer that did not leave.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple, TypeVar

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.engines.protocol import makes_no_embeddings
from millrace.gateway.admission import Admission, Admitted, Offer, payer_of
from millrace.gateway.engine_counts import EngineCounts
from millrace.gateway.exchange import SSE, Exchange
from millrace.gateway.interrupt import Cause, Interrupted
from millrace.gateway.limiter import Limiter
from millrace.gateway.metrics import Metrics
from millrace.gateway.refusals import stopping
from millrace.gateway.repetition import Keyed, Repetition
from millrace.gateway.rolling import STEP_TOKENS, Rolling
from millrace.gateway.run import Run
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.generation.prompt import TextPrompt
from millrace.money.billing.books import Books
from millrace.money.billing.hold import Outcome, Payer, clip
from millrace.money.idempotency.claim import Answered, Claim
from millrace.money.metering.usage import Status
from millrace.settings.limits import Limits
from millrace.tenants.values import Caller
from millrace.wire.chat import ChatRequest, parse_chat
from millrace.wire.chat_frames import ChatFrames
from millrace.wire.collected import Choice, Collected
from millrace.wire.completion_frames import CompletionFrames
from millrace.wire.completions import CompletionRequest, parse_completion
from millrace.wire.embeddings import EmbeddingsRequest, parse_embeddings, render_embeddings
from millrace.wire.frames import DONE, Frames
from millrace.wire.render_chat import render_chat
from millrace.wire.render_completion import render_completion

_log = logging.getLogger("millrace.gateway")

Render = Callable[[str, str, int, tuple[Choice, ...], TokenCounts], bytes]
Work = Callable[[Run], Awaitable[Outcome]]
T = TypeVar("T")


class Form(NamedTuple):
    """How a kind of answer is written: as a stream of frames, or whole."""

    frames: type[ChatFrames] | type[CompletionFrames]
    render: Render


CHAT = Form(ChatFrames, render_chat)
COMPLETION = Form(CompletionFrames, render_completion)


class Job(NamedTuple):
    """What is held for, whatever the kind of request."""

    payer: Payer
    offer: Offer
    input_bound: int
    output_bound: int
    keyed: Keyed | None

    @property
    def claim(self) -> Claim | None:
        return None if self.keyed is None else self.keyed.claim


class Inference:
    """Runs the inference requests of one gateway. `running` are those between hold and settlement."""

    def __init__(
        self,
        admission: Admission,
        books: Books,
        limiter: Limiter,
        repetition: Repetition,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        hold_step: int = STEP_TOKENS,
    ) -> None:
        self.running: dict[str, Run] = {}
        self.made = EngineCounts(clock)
        self.draining = False
        self._admission = admission
        self._books = books
        self._limiter = limiter
        self._repetition = repetition
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._hold_step = hold_step

    async def chat(self, exchange: Exchange, caller: Caller) -> None:
        asked, keyed = await self._read(exchange, caller, parse_chat)
        await self._once(exchange, keyed, lambda: self._text(exchange, caller, asked, CHAT, keyed))

    async def completion(self, exchange: Exchange, caller: Caller) -> None:
        asked, keyed = await self._read(exchange, caller, parse_completion)
        await self._once(exchange, keyed, lambda: self._text(exchange, caller, asked, COMPLETION, keyed))

    async def embeddings(self, exchange: Exchange, caller: Caller) -> None:
        asked, keyed = await self._read(exchange, caller, parse_embeddings)
        await self._once(exchange, keyed, lambda: self._vectors(exchange, caller, asked, keyed))

    @property
    def waiting(self) -> int:
        """Requests that wait for the answer of another one with their Idempotency-Key."""
        return self._repetition.waiting

    async def drain(self, seconds: float) -> None:
        """Take nothing new, give what runs or waits that long, then end and settle it."""
        self.draining = True
        for _ in range(int(seconds * 10)):
            if not self.running and not self.waiting:
                return
            await self._clock.sleep(0.1)
        self.end_all()
        while self.running or self.waiting:
            await self._clock.sleep(0.05)

    def end_all(self) -> None:
        """End every running request now, each settled at what left, and everybody's waiting for one."""
        for run in list(self.running.values()):
            run.interrupt.fire(Cause.SHUTDOWN)
        self._repetition.end_all()

    async def _read(self, exchange: Exchange, caller: Caller, parse: Callable[[bytes], T]) -> tuple[T, Keyed | None]:
        """What is asked, and its Idempotency-Key if it has one. The body itself is not kept while the request runs."""
        body = await exchange.body(self._limits)
        return parse(body), self._repetition.keyed(exchange, caller, body)

    async def _once(self, exchange: Exchange, keyed: Keyed | None, run: Callable[[], Awaitable[None]]) -> None:
        """A request without an Idempotency-Key runs; one with it, unless its answer is there or on its way."""
        if keyed is None:
            await run()
        else:
            await self._repetition.once(exchange, keyed, run)

    async def _vectors(self, exchange: Exchange, caller: Caller, asked: EmbeddingsRequest, keyed: Keyed | None) -> None:
        exchange.trail.ask(asked.model, stream=False)
        self._refuse_when_draining()
        async with self._admission.offer(asked.model, caller) as offer:
            await self._embed(exchange, caller, asked, offer, keyed)

    async def _embed(
        self, exchange: Exchange, caller: Caller, asked: EmbeddingsRequest, offer: Offer, keyed: Keyed | None
    ) -> None:
        if not offer.engine.embeds:
            raise makes_no_embeddings(asked.model)
        sizes = await asyncio.gather(*(offer.engine.measure(TextPrompt(text=text)) for text in asked.texts))
        for index, size in enumerate(sizes):
            if size.exact and size.tokens > offer.model.context_tokens:
                raise Refusal(
                    Reason.CONTEXT_LENGTH_EXCEEDED,
                    f"input[{index}] has {size.tokens} tokens; model {asked.model!r} takes {offer.model.context_tokens}",
                    param=f"input[{index}]",
                )

        async def work(run: Run) -> Outcome:
            made = await offer.engine.embed(asked.texts)
            counts = TokenCounts(input=made.input_tokens)
            run.made.see(counts)
            body = render_embeddings(asked.model, made.vectors, _settled(counts, job).input, asked.encoding)
            return await _deliver_whole(run, body, counts, made.counted_by)

        job = Job(payer_of(caller), offer, sum(size.tokens for size in sizes), 0, keyed)
        await self._run(exchange, caller, job, work)

    async def _text(
        self, exchange: Exchange, caller: Caller, asked: ChatRequest | CompletionRequest, form: Form, keyed: Keyed | None
    ) -> None:
        exchange.trail.ask(asked.model, stream=asked.stream, max_tokens=asked.max_tokens)
        self._refuse_when_draining()
        async with self._admission.offer(asked.model, caller) as offer:
            await self._generate(exchange, caller, asked, form, offer, keyed)

    async def _generate(
        self, exchange: Exchange, caller: Caller, asked: ChatRequest | CompletionRequest, form: Form, offer: Offer,
        keyed: Keyed | None,
    ) -> None:  # fmt: skip
        admitted = await self._admission.admit(
            exchange.request_id, offer, caller, asked.prompt, asked.sampling, asked.max_tokens, asked.stream
        )
        created = self._clock.now() // NS_PER_S
        job = Job(admitted.payer, offer, admitted.input_bound, admitted.output_bound, keyed)
        if not asked.stream:

            async def whole(run: Run) -> Outcome:
                collected, counts, counted_by = await _collect(run, admitted)
                usage = _settled(counts, job)
                body = form.render(exchange.request_id, asked.model, created, collected.choices(), usage)
                return await _deliver_whole(run, body, counts, counted_by)

            await self._run(exchange, caller, job, whole)
            return

        frames = form.frames(
            exchange.request_id, asked.model, created, choices=admitted.order.choices, include_usage=asked.include_usage
        )

        async def stream(run: Run) -> Outcome:
            return await _stream(run, admitted, frames, asked.usage_each)

        def last(tokens: TokenCounts) -> bytes:
            return (frames.usage(tokens) if asked.include_usage else b"") + DONE

        await self._run(exchange, caller, job, stream, frames, last)

    async def _run(
        self,
        exchange: Exchange,
        caller: Caller,
        job: Job,
        work: Work,
        frames: Frames | None = None,
        last: Callable[[TokenCounts], bytes] | None = None,
    ) -> None:
        """Hold, work, settle. After the hold nothing leaves this function before the settlement was tried."""
        trail = exchange.trail
        permit = self._limiter.admit(caller.key, job.input_bound + job.output_bound)
        used = 0
        try:
            first = min(job.output_bound, self._hold_step)
            trail.hold()
            hold = await self._books.hold(
                exchange.request_id, job.payer, job.offer.price, job.input_bound, first, rates=permit.rates,
                claim=job.claim, sold_as=job.offer.sold_as,
            )  # fmt: skip
            rolling = Rolling(self._books, hold, job.output_bound, self._hold_step)
            run = Run(exchange, self._books, hold, rolling, job.keyed)
            self.running[exchange.request_id] = run
            self.made.begin(run.made)
            trail.generate()
            try:
                outcome, refusal = await self._work(run, work)
                trail.settle()
                await run.rolling.close()
                used = outcome.counts.input + outcome.counts.output
                answer = _answered(run, job, outcome, last)
                usage = await self._books.settle(hold, outcome, unused=permit.unused(used), answer=answer)
            finally:
                del self.running[exchange.request_id]
                self.made.end(run.made)
                run.settled.set()
            trail.bill(usage)
            self._metrics.settled(usage, self._clock.now())
        finally:
            permit.release(used)
        if run.interrupt.cause is Cause.CLIENT_GONE:
            return
        if refusal is not None:
            await _tell(exchange, refusal, frames)
        elif last is not None:
            await exchange.finish(last(usage.tokens))

    async def _work(self, run: Run, work: Work) -> tuple[Outcome, Refusal | None]:
        """How the work ended, and what to tell the client if it did not end well."""
        timer = asyncio.get_running_loop().call_later(
            self._limits.request_timeout_s, run.interrupt.fire, Cause.TIME_IS_UP
        )
        run.exchange.connection.listen(run.client_gone)
        try:
            with run.interrupt.interruptible():
                return await work(run), None
        except Interrupted as interrupted:
            return self._interrupted(run, interrupted.cause)
        except Refusal as refusal:
            return run.broken_off(Status.FAILED), refusal
        except asyncio.CancelledError:
            await self._books.settle(run.hold, run.broken_off(Status.FAILED))
            raise
        except Exception:  # noqa: BLE001 - a bug of an engine must not keep its request from being settled
            _log.exception("request %s broke", run.hold.request_id)
            self._metrics.broke()
            return run.broken_off(Status.FAILED), internal_error()
        finally:
            timer.cancel()
            run.exchange.connection.listen(None)

    def _interrupted(self, run: Run, cause: Cause) -> tuple[Outcome, Refusal | None]:
        if cause is Cause.CLIENT_GONE:
            return run.broken_off(Status.CANCELLED), None
        if cause is Cause.SHUTDOWN:
            return run.broken_off(Status.FAILED), stopping()
        return run.broken_off(Status.FAILED), Refusal(
            Reason.ENGINE_FAILED,
            f"the answer took longer than {self._limits.request_timeout_s:g} seconds and was cut; ask for fewer tokens",
        )

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise stopping()


def _settled(counts: TokenCounts, job: Job) -> TokenCounts:
    """The counts as they will be settled: never more than was held for."""
    return clip(counts, job.input_bound, job.output_bound)[0]


def _answered(run: Run, job: Job, outcome: Outcome, last: Callable[[TokenCounts], bytes] | None) -> Answered | None:
    """What is kept of a keyed request for its repeats: what its client gets, down to a stream's last frame."""
    if job.keyed is None:
        return None
    if last is not None and outcome.status is Status.COMPLETED:
        job.keyed.keep(last(clip(outcome.counts, job.input_bound, run.hold.output_bound)[0]))
    return job.keyed.answered(outcome, stream=last is not None)


async def _collect(run: Run, admitted: Admitted) -> tuple[Collected, TokenCounts, CountedBy]:
    collected = Collected(admitted.order.choices)
    counts, counted_by = TokenCounts(), CountedBy.ENGINE
    async with aclosing(admitted.offer.engine.generate(admitted.order)) as chunks:
        async for chunk in chunks:
            run.made.see(chunk.counts)
            await run.rolling.cover(chunk.counts.output)
            collected.add(chunk)
            run.exchange.trail.finish(chunk.finish)
            counts, counted_by = chunk.counts, chunk.counted_by
    return collected, counts, counted_by


async def _deliver_whole(run: Run, body: bytes, counts: TokenCounts, counted_by: CountedBy) -> Outcome:
    """Write down, send, note that it left: an answer that does not leave costs nothing."""
    await run.until_releasable()
    run.record(counts, counted_by)
    if not await run.exchange.answer(body):
        run.client_gone()
        return run.broken_off(Status.CANCELLED)
    run.confirm()
    if run.keyed is not None:
        run.keyed.keep(body)
    return run.completed(counts, counted_by)


async def _stream(run: Run, admitted: Admitted, frames: Frames, usage_each: bool) -> Outcome:
    """Release each chunk as it comes, and those that came together in one piece.

    The status line waits for the first of them: until then a refusal still has its status.
    """
    counts, counted_by = TokenCounts(), CountedBy.ENGINE
    waiting = b""
    async with aclosing(admitted.offer.engine.generate(admitted.order)) as chunks:
        async for chunk in chunks:
            run.made.see(chunk.counts)
            counts, counted_by = chunk.counts, chunk.counted_by
            run.exchange.trail.finish(chunk.finish)
            frame = waiting + frames.chunk(chunk, usage_each)
            if chunk.more:
                waiting = frame
                continue
            waiting = b""
            if not run.exchange.started:
                await run.exchange.start(200, SSE)
                frame = b"".join([frames.opening(choice) for choice in range(admitted.order.choices)]) + frame
            if frame and not await run.release(frame, chunk):
                run.client_gone()
                return run.broken_off(Status.CANCELLED)
    if not run.exchange.started:
        await run.exchange.start(200, SSE)
    return run.completed(counts, counted_by)


async def _tell(exchange: Exchange, refusal: Refusal, frames: Frames | None) -> None:
    """A refusal with its status while there is still a status line to send, else as the frame that breaks the stream off."""
    exchange.trail.refuse(refusal)
    if not exchange.started:
        await exchange.refuse(refusal)
    elif frames is not None:
        await exchange.finish(frames.error(refusal))


def internal_error() -> Refusal:
    """What a caller is told about a bug: nothing but that it is ours, and where it is written down."""
    return Refusal(
        Reason.INTERNAL_ERROR, "this request met an error of the server, which is in its log under the x-request-id; try again"
    )
