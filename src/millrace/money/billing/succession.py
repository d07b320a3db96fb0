"""What a living server does for the dead: fences them, settles what they left, gives back their slices, ends their epochs.

Killed at any point, whoever comes next goes on where this one was: an epoch ends after its last hold, its files go after that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Refusal
from millrace.base.ids import id_bytes, id_from_bytes
from millrace.generation.chunk import NO_TOKENS, CountedBy
from millrace.money.billing import store
from millrace.money.billing.hold import Outcome
from millrace.money.billing.life import HeirOf, Life, clear, lock_is_free
from millrace.money.billing.orders import Order, ToSettle, ToTend
from millrace.money.epochs import store as epochs
from millrace.money.epochs.store import Other
from millrace.money.metering.journal import NOTHING_RECORDED, Watermark, epochs_in, watermarks
from millrace.money.metering.usage import Status, Usage
from millrace.store.database import Database
from millrace.store.transaction import Tx

_log = logging.getLogger("millrace.books")

RESOLVED_AT_ONCE: Final = 500
"""Holds of the dead resolved in one commit."""

Ask = Callable[[Order], Awaitable[Any]]


class Recovery(Struct, frozen=True):
    """What a start or a take-over found and did: holds settled at their watermark, holds voided, tokens waived."""

    settled: int = 0
    voided: int = 0
    waived: int = 0

    def __add__(self, other: "Recovery") -> "Recovery":
        return Recovery(self.settled + other.settled, self.voided + other.voided, self.waived + other.waived)


class Succession:
    """Of one server. `ask` serves an order under its epoch; `taken` are the epochs that it settles now."""

    def __init__(
        self, db: Database, folder: Path, life: Life, clock: Clock, lease_ns: int, ask: Ask, heir_of: HeirOf | None = None
    ) -> None:
        self.taken: frozenset[int] = frozenset()
        self._db = db
        self._folder = folder
        self._life = life
        self._clock = clock
        self._lease_ns = lease_ns
        self._ask = ask
        self._heir_of = heir_of

    async def take_over(self, ours: int) -> Recovery:
        """Fence every epoch that is dead, settle what it left, and end it; also what an earlier try left half done."""
        found = Recovery()
        for other in await asyncio.to_thread(self._db.read, partial(self._dead, ours=ours)):
            if await self._db.write(partial(self._fence, other=other, ours=ours)):
                _log.info("epoch %d is dead: this server settles what it left", other.number)
        left = await asyncio.to_thread(self._db.read, partial(epochs.taken, taker=ours))
        self.taken = frozenset(number for number, _ in left)
        for number, home in left:
            found += await self._resolve_left(number, home)
            await self._ask(ToTend())
            if await self._db.write(partial(self._end, number=number)):
                self.taken -= {number}
                if self._life.is_near(home) and lock_is_free(self._folder, number):
                    await self._put_away(number)
        return found

    async def has_neighbours(self, ours: int) -> bool:
        """Whether another server of this home still runs, such as a worker that outlives its killed parent for some seconds."""
        lease_now = self._clock.monotonic()
        others = await asyncio.to_thread(self._db.read, partial(epochs.others, number=ours, lease_now=lease_now))
        return any(other.home == self._life.home and other.taken_by != ours for other in others)

    async def tidy(self, ours: int) -> None:
        """Put away the files of epochs that are over."""
        for epoch in await asyncio.to_thread(epochs_in, self._folder):
            if epoch == ours or not lock_is_free(self._folder, epoch):
                continue
            if await asyncio.to_thread(self._db.read, partial(epochs.is_over, number=epoch)):
                await self._put_away(epoch)

    async def waive(self, marks: Mapping[bytes, Watermark]) -> int:
        """Note what had been recorded for release of requests that others settle; returns the tokens waived late."""
        recorded = {id_from_bytes("req", raw_id): _recorded(mark) for raw_id, mark in marks.items()}
        return await self._db.write(lambda tx: store.waive(tx, recorded, tx.now(self._clock.now())))

    def _dead(self, tx: Tx, ours: int) -> list[Other]:
        lease_now = tx.now(self._clock.monotonic())
        found = [other for other in epochs.others(tx, ours, lease_now) if self._life.is_dead(other, lease_now)]
        if self._heir_of is None or not found:
            return found
        heritage = self._heir_of(tx)
        return [other for other in found if other.number in heritage]

    def _fence(self, tx: Tx, other: Other, ours: int) -> bool:
        """Only who is alive himself may."""
        lease_now = tx.now(self._clock.monotonic())
        return epochs.renew(tx, ours, lease_now, self._lease_ns) and epochs.take_over(tx, other, ours)

    def _end(self, tx: Tx, number: int) -> bool:
        return epochs.end(tx, number, tx.now(self._clock.now()))

    async def _resolve_left(self, epoch: int, home: str) -> Recovery:
        """By the journal where it lies in our folder and by what was flushed last, whichever knows more. A hold that cannot be
        resolved keeps its epoch from ending, and neither the others nor this server's start.
        """
        marks = await asyncio.to_thread(watermarks, self._folder, epoch) if self._life.is_near(home) else {}
        found, after = Recovery(), ""
        while left := await asyncio.to_thread(
            self._db.read, partial(store.left_by, epoch=epoch, after=after, limit=RESOLVED_AT_ONCE)
        ):
            after = left[-1][0]
            orders = [
                of_the_dead(request_id, _further(marks.get(id_bytes(request_id)), flushed)) for request_id, flushed in left
            ]
            answers = await asyncio.gather(*(self._ask(order) for order in orders), return_exceptions=True)
            _raise_outage(answers)
            log_failures(answers)
            rows = [answer for answer in answers if isinstance(answer, Usage)]
            billed = sum(row.tokens != NO_TOKENS for row in rows)
            found += Recovery(billed, len(rows) - billed, sum(row.waived for row in rows))
        return found

    async def _put_away(self, epoch: int) -> None:
        """The files of an epoch that is over go, once it is noted what they know of requests that another machine settled."""
        await self.waive(await asyncio.to_thread(watermarks, self._folder, epoch))
        clear(self._folder, epoch)


def of_the_dead(request_id: str, mark: Watermark) -> ToSettle:
    """Settle a request that nobody has in hand any more, at its watermark."""
    outcome = Outcome(status=Status.FAILED, counts=mark.billable, counted_by=mark.counted_by, waived=mark.waived)
    return ToSettle(request_id=request_id, outcome=outcome, keyed=True)


def _further(journal: Watermark | None, flushed: Watermark | None) -> Watermark:
    """The journal is never behind what was flushed, unless a power cut or a lost disk took its end. The engine's last count may
    be lower than estimates before it, and stands.
    """
    known = [mark for mark in (journal, flushed) if mark is not None]
    return max(known, key=_how_far, default=NOTHING_RECORDED)


def _how_far(mark: Watermark) -> tuple[bool, int, int]:
    return mark.counted_by is CountedBy.ENGINE_FINAL, mark.confirmed_output, _recorded(mark)


def _recorded(mark: Watermark) -> int:
    return mark.recorded.input + mark.recorded.output


def _raise_outage(results: Sequence[object]) -> None:
    """Where the database is away, or this server is fenced, nobody goes on."""
    for result in results:
        if isinstance(result, Refusal):
            raise result


def log_failures(results: Sequence[object]) -> None:
    """Of many resolved at once: each that failed."""
    for result in results:
        if isinstance(result, Exception):
            log_failure(result)


def log_failure(error: BaseException) -> None:
    """A refusal is an event in a sentence; anything else is a bug, and its place is wanted."""
    if isinstance(error, Refusal):
        _log.warning("a hold is not resolved yet, the next sweep tries again: %s", error.sentence)
    else:
        _log.error("a hold could not be resolved, the next sweep tries again", exc_info=error)
