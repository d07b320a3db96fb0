"""Idempotency-Key: the first request with a key runs, its repeats get its answer, and nobody pays twice.

Theory of operation. Whoever finds no claim on his key holds with one (the hold's transaction decides who is first), and is
*ahead* in this process: repeats that come here meanwhile wait for him and ask the database nothing. Where a request on
another gateway is first, one of ours is ahead and asks every POLL_S how that one ended. When whoever is ahead is through,
each of the others looks again: there is an answer, which is replayed; or the claim is gone since nothing was billed, and the
next one is first.

Who waits takes a place among the requests in flight, and nothing else. A replay runs nothing, holds nothing and takes nothing
of a limit, so it works while the engine is down or the credit is used up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final, NamedTuple, NoReturn

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.gateway.exchange import JSON, SSE, ClientGone, Exchange
from millrace.gateway.interrupt import Cause, Interrupt, Interrupted
from millrace.gateway.limiter import Limiter
from millrace.gateway.refusals import stopping
from millrace.generation.chunk import NO_TOKENS
from millrace.money.billing.books import Books
from millrace.money.billing.hold import Outcome
from millrace.money.idempotency import store
from millrace.money.idempotency.answer import Keeping, pieces
from millrace.money.idempotency.claim import Answered, Claim, Kept, Repeated, Space, State
from millrace.money.idempotency.key import HEADER, body_digest, key_digest, parse_key
from millrace.money.metering import store as metering
from millrace.money.metering.usage import Status
from millrace.settings.limits import Limits
from millrace.store.database import Database
from millrace.tenants.values import Caller, Key
from millrace.wire.frames import render_error_frame

POLL_S: Final = 0.1
"""How often a request that runs on another gateway is asked after: a tenth of what a short answer takes."""

RETRY_S: Final = 5
"""When to come back for an answer that took longer than a request may wait."""

REPLAYED: Final = (b"idempotent-replayed", b"true")

_HEADER: Final = HEADER.lower().encode()
_SSE: Final = SSE[0][1].decode()
_JSON: Final = JSON[0][1].decode()
_ENDED: Final = {Status.CANCELLED: "its client left", Status.FAILED: "it was broken off"}


class Keyed:
    """A request with a key: what it claims, and what of its answer is kept for its repeats."""

    def __init__(self, claim: Claim, key: Key) -> None:
        self.claim = claim
        self.key = key

    @cached_property
    def _keeping(self) -> Keeping:
        """Made when there is something to keep: who only waits for another one's answer needs none."""
        return Keeping()

    def keep(self, released: bytes) -> None:
        """To be called with what the client has, in the order in which he got it."""
        self._keeping.add(released)

    def answered(self, outcome: Outcome, *, stream: bool) -> Answered | None:
        """What a repeat is to be answered; None where it is to run anew, since nothing is billed."""
        if outcome.counts == NO_TOKENS:
            return None
        if outcome.status is not Status.COMPLETED:
            self._keeping.add(render_error_frame(_cut(self.claim.request_id, outcome)))
        return self._keeping.answered(self.claim.request_id, _SSE if stream else _JSON)


class _Ahead(NamedTuple):
    """The request of a key for which the others in this process wait."""

    body: str
    through: asyncio.Event


class Repetition:
    """The keyed requests of one gateway."""

    def __init__(self, db: Database, books: Books, limiter: Limiter, limits: Limits, clock: Clock) -> None:
        self._db = db
        self._books = books
        self._limiter = limiter
        self._limits = limits
        self._clock = clock
        self._ahead: dict[str, _Ahead] = {}
        self._waiting: set[Interrupt] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for another one's answer."""
        return len(self._waiting)

    def end_all(self) -> None:
        """Nobody waits any longer: the server stops."""
        for interrupt in list(self._waiting):
            interrupt.fire(Cause.SHUTDOWN)

    def keyed(self, exchange: Exchange, caller: Caller, body: bytes) -> Keyed | None:
        """None for a request without a key. Refuses what is no key."""
        header = exchange.header(_HEADER)
        if header is None:
            return None
        claim = Claim(
            key=key_digest(caller.tenant.id, caller.project.id, parse_key(header)),
            tenant_id=caller.tenant.id,
            body=body_digest(exchange.path, body),
            request_id=exchange.request_id,
            epoch=self._books.epoch,
            space_max=Space(keys=self._limits.idempotency_keys_max, bytes=self._limits.idempotency_bytes_max),
        )
        return Keyed(claim, caller.key)

    async def once(self, exchange: Exchange, keyed: Keyed, run: Callable[[], Awaitable[None]]) -> None:
        """`run` if nobody did, else the answer of whoever did, waiting for it where need be.

        `run` raises `Repeated` when somebody was faster after all.
        """
        claim = keyed.claim
        until = self._clock.monotonic() + round(self._limits.request_timeout_s * NS_PER_S)
        while True:
            kept = await self._find(claim)
            if kept is not None:
                _refuse_other(claim, kept.body)
                if kept.state is not State.RUNNING:
                    await self._repeat(exchange, claim, kept)
                    return
            ahead = self._ahead.get(claim.key)
            if ahead is not None:
                _refuse_other(claim, ahead.body)
                await self._wait(exchange, keyed.key, until, ahead.through.wait)
            elif kept is not None:
                with self._going_ahead(claim):
                    await self._wait(exchange, keyed.key, until, lambda: self._ended_elsewhere(claim))
            elif await self._is_first(claim, run):
                return

    async def _find(self, claim: Claim) -> Kept | None:
        return await self._db.look(lambda tx: store.find(tx, claim.tenant_id, claim.key))

    async def _is_first(self, claim: Claim, run: Callable[[], Awaitable[None]]) -> bool:
        with self._going_ahead(claim):
            try:
                await run()
            except Repeated:  # on another gateway
                return False
            return True

    @contextmanager
    def _going_ahead(self, claim: Claim) -> Iterator[None]:
        ahead = self._ahead[claim.key] = _Ahead(claim.body, asyncio.Event())
        try:
            yield
        finally:
            del self._ahead[claim.key]
            ahead.through.set()

    async def _ended_elsewhere(self, claim: Claim) -> None:
        """Return when the claim is not running any more."""
        while True:
            await self._clock.sleep(POLL_S)
            kept = await self._find(claim)
            if kept is None or kept.state is not State.RUNNING:
                return

    async def _wait(self, exchange: Exchange, key: Key, until: int, for_: Callable[[], Awaitable[object]]) -> None:
        """Raises when the time is up, the client leaves or the server stops before it came, or too many requests are here."""
        self._limiter.enter(key)
        interrupt = Interrupt()
        left_s = max(until - self._clock.monotonic(), 0) / NS_PER_S
        timer = asyncio.get_running_loop().call_later(left_s, interrupt.fire, Cause.TIME_IS_UP)
        self._waiting.add(interrupt)
        exchange.connection.listen(lambda: interrupt.fire(Cause.CLIENT_GONE))
        try:
            with interrupt.interruptible():
                await for_()
        except Interrupted as interrupted:
            self._give_up(interrupted.cause)
        finally:
            timer.cancel()
            self._limiter.leave(key.id)
            self._waiting.discard(interrupt)
            exchange.connection.listen(None)

    def _give_up(self, cause: Cause) -> NoReturn:
        if cause is Cause.CLIENT_GONE:
            raise ClientGone
        if cause is Cause.SHUTDOWN:
            raise stopping()
        raise Refusal(
            Reason.IDEMPOTENCY_RUNNING,
            f"the first request with this {HEADER} still runs after {self._limits.request_timeout_s:g} seconds; "
            "ask again with the same key to get its answer",
            retry_after_s=RETRY_S,
        )

    async def _repeat(self, exchange: Exchange, claim: Claim, kept: Kept) -> None:
        if kept.state is State.TOO_LARGE:
            raise Refusal(
                Reason.IDEMPOTENCY_ANSWER_LOST,
                f"{HEADER}: request {kept.request_id} was answered and billed, and its answer was too large to be kept; "
                "its receipt is there; to have it made again, send a new key",
                param=HEADER,
            )
        if kept.state is State.LOST:
            raise await self._lost(claim, kept)
        await _replay(exchange, kept)

    async def _lost(self, claim: Claim, kept: Kept) -> Refusal:
        usage = await self._db.look(lambda tx: metering.by_request(tx, kept.request_id))
        billed = 0 if usage is None or usage.tenant_id != claim.tenant_id else usage.tokens.input + usage.tokens.output
        return Refusal(
            Reason.IDEMPOTENCY_ANSWER_LOST,
            f"{HEADER}: request {kept.request_id} was cut off when its server ended, and what was released of its answer was "
            f"not kept; {billed} tokens of it were billed, once, as its receipt says; to have it made again, send a new key",
            param=HEADER,
        )


async def _replay(exchange: Exchange, kept: Kept) -> None:
    """The same bytes, under the first request's id, by which its receipt is found."""
    exchange.request_id = kept.request_id
    exchange.trail.replay_of = kept.request_id
    await exchange.start(kept.status, [*(SSE if kept.form == _SSE else JSON), REPLAYED])
    for piece in pieces(kept.answer):
        if not await exchange.write(piece):
            raise ClientGone
    await exchange.finish()


def _refuse_other(claim: Claim, body: str) -> None:
    if claim.body != body:
        raise Refusal(
            Reason.IDEMPOTENCY_CONFLICT,
            f"{HEADER}: this key came before with another body or to another route; repeat a request byte for byte, and use "
            "a new key for a new one",
            param=HEADER,
        )


def _cut(request_id: str, outcome: Outcome) -> Refusal:
    """How the replay of a stream ends that did not come to its end."""
    billed = outcome.counts.input + outcome.counts.output
    return Refusal(
        Reason.IDEMPOTENCY_ANSWER_LOST,
        f"the first answer to this {HEADER}, request {request_id}, came to here, then {_ENDED[outcome.status]}; its {billed} "
        "tokens were billed once; to have it made again and whole, send a new key",
        param=HEADER,
    )
