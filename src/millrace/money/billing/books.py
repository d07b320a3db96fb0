"""The books as the gateway sees them: hold, extend, progress, settle; recovery on boot and the sweeper while running.

Theory of operation. A request is *live* from before its hold is written until its settlement is on disk, as long as
somebody has its `Hold` in hand, and only its own stream settles it. Every open hold of this epoch that is not live is
an orphan (its caller was cancelled between the hold and the answer, or lost it without settling), which the sweeper
resolves; every open hold of an earlier epoch belonged to a server that is gone, which `open` resolves. Both bill what
the journal says was surely handed over and waive the rest, so that nothing stays reserved for ever and nobody pays for
what he did not get. Resolving is idempotent in the database: whoever comes second gets the first's row.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import id_bytes
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing import store
from millrace.money.billing.hold import OpenHold, Outcome, Payer
from millrace.money.grants import store as grants
from millrace.money.metering.journal import NOTHING_RECORDED, Journal, Watermark, segments, watermarks
from millrace.money.metering.usage import Usage
from millrace.money.rating.book import PriceVersion
from millrace.store.database import Database
from millrace.store.transaction import Tx

_log = logging.getLogger("millrace.books")

RESOLVED_AT_ONCE = 500
"""Holds of the dead resolved in one commit."""

SETTLE_TRIES = 5
"""A settlement that the disk refuses is tried this often at once; then the sweeper goes on with it."""

SETTLE_RETRY_S = 0.2


class Hold(Struct, weakref=True):
    """A running request's reservation, as its own stream sees it. Whoever lets go of it unsettled leaves it to the sweeper."""

    request_id: str
    raw_id: bytes
    payer: Payer
    price: PriceVersion
    output_bound: int


class Recovery(Struct, frozen=True):
    """What a boot found and did: holds settled at their watermark, holds voided, tokens waived."""

    settled: int = 0
    voided: int = 0
    waived: int = 0


class Books:
    """One server's door to the money rooms. `open` it before serving, `close` it after the last request."""

    def __init__(
        self, db: Database, folder: Path, clock: Clock, *, journal: Callable[[Path, int], Journal] = Journal
    ) -> None:
        self._db = db
        self._folder = folder
        self._clock = clock
        self._make_journal = journal
        self._journal: Journal | None = None
        self._live: WeakValueDictionary[str, Hold] = WeakValueDictionary()
        self._unsettled: dict[str, tuple[Hold, Outcome]] = {}
        self._settling: set[asyncio.Task[Usage]] = set()
        self.epoch = 0
        self.recovery = Recovery()

    async def open(self) -> Recovery:
        """Begin a new epoch and resolve every hold that an earlier one left open. The caller holds the home's lock.

        Killed or refused at any point, the next `open` goes on where this one was: journals go only after the last
        hold.
        """
        epoch = await self._db.write(lambda tx: store.begin_epoch(tx, self._clock.now()))
        self.recovery = await self._recover(epoch)
        self._journal = self._make_journal(self._folder, epoch)
        self.epoch = epoch
        return self.recovery

    async def close(self) -> None:
        """Settle what is left and end the epoch. What cannot be settled now, the next `open` settles by the journal."""
        journal, self._journal = self._journal, None
        if journal is None:
            return
        try:
            await asyncio.gather(*self._settling, return_exceptions=True)
            await self._sweep(journal)
            over = await self._db.write(lambda tx: store.end_epoch(tx, self.epoch, self._clock.now()))
        finally:
            journal.close()
        if over:
            _delete_segments(self._folder)

    @property
    def live(self) -> int:
        """Requests held and not settled."""
        return len(self._live)

    async def hold(self, request_id: str, payer: Payer, price: PriceVersion, input_bound: int, output_bound: int) -> Hold:
        """Reserve the most that the request can cost; durable when this returns."""
        if self._journal is None:
            raise Refusal(Reason.STORE_UNAVAILABLE, "the books are closed; the server is starting or stopping", retry_after_s=1)
        if request_id in self._live:
            raise Refusal(Reason.CONFLICT, f"request {request_id} is running")
        hold = Hold(request_id, id_bytes(request_id), payer, price, output_bound)
        self._live[request_id] = hold
        try:
            held = await self._db.write(
                lambda tx: store.hold(
                    tx, request_id=request_id, payer=payer, price=price, input_bound=input_bound, output_bound=output_bound,
                    epoch=self.epoch, now=self._clock.now(),
                )
            )
        except BaseException:  # cancelled: the hold may be made all the same, and is the sweeper's then
            del self._live[request_id]
            raise
        hold.output_bound = held.output_bound
        return hold

    async def extend(self, hold: Hold, output_bound: int) -> None:
        """Make room for more output before what is held is used up. Refused, the hold stays as it was."""
        extended = await self._db.write(
            lambda tx: store.extend(tx, hold.request_id, hold.payer, hold.price, output_bound, self._clock.now())
        )
        hold.output_bound = max(hold.output_bound, extended.output_bound)

    def progress(self, hold: Hold, counts: TokenCounts, confirmed: TokenCounts, counted_by: CountedBy) -> None:
        """Write down what the chunk about to be released brings the request to. Release it only after this returned.

        `confirmed` is what had been handed over whole before. Counts may go down when an engine corrects an estimate.
        """
        if self._journal is None:
            raise Refusal(Reason.STORE_UNAVAILABLE, "the books are closed; the server is stopping", retry_after_s=1)
        self._journal.record(hold.raw_id, counts, confirmed, counted_by)

    async def settle(self, hold: Hold, outcome: Outcome) -> Usage:
        """Bill what was released, once, whoever asks how often; the first outcome counts. Survives its caller's
        cancellation.

        Raises a Refusal with STORE_UNAVAILABLE when the disk refuses for longer; the sweeper then settles later.
        """
        first = self._unsettled.setdefault(hold.request_id, (hold, outcome))
        try:
            return await self._settle_once(*first)
        except asyncio.CancelledError:
            self._go_on(*first, refused=False)
            raise
        except Refusal as refusal:
            if refusal.reason is not Reason.STORE_UNAVAILABLE:
                raise
        return await asyncio.shield(self._go_on(*first, refused=True))

    async def sweep(self) -> int:
        """Settle what could not be, resolve what nobody waits for any more, expire grants; returns how many holds."""
        return 0 if self._journal is None else await self._sweep(self._journal)

    def sync_journal(self) -> None:
        """Bring the journal to the disk; called every so often from a thread."""
        journal = self._journal
        if journal is not None:
            journal.sync()

    def _go_on(self, hold: Hold, outcome: Outcome, *, refused: bool) -> "asyncio.Task[Usage]":
        """Settle in the background what its caller does not wait for any more, or what the disk has refused once."""
        task = asyncio.create_task(self._settle_again(hold, outcome, refused=refused))
        self._settling.add(task)
        task.add_done_callback(self._settled)
        return task

    async def _settle_again(self, hold: Hold, outcome: Outcome, *, refused: bool) -> Usage:
        for tries_left in reversed(range(SETTLE_TRIES - refused)):
            if refused:
                await self._clock.sleep(SETTLE_RETRY_S)
            try:
                return await self._settle_once(hold, outcome)
            except Refusal as refusal:
                if refusal.reason is not Reason.STORE_UNAVAILABLE or tries_left == 0:
                    raise
                _log.warning("settlement of %s refused, trying again: %s", hold.request_id, refusal.sentence)
                refused = True
        raise AssertionError("unreachable")

    async def _settle_once(self, hold: Hold, outcome: Outcome) -> Usage:
        usage = await self._db.write(
            lambda tx: store.resolve(tx, hold.request_id, outcome, hold.price, self._clock.now())
        )
        self._unsettled.pop(hold.request_id, None)
        self._live.pop(hold.request_id, None)
        if self._journal is not None:
            self._journal.forget(hold.raw_id)
        return usage

    def _settled(self, task: asyncio.Task[Usage]) -> None:
        """A settlement whose caller was cancelled has nobody else to tell that it failed."""
        self._settling.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log_failure(error)

    async def _sweep(self, journal: Journal) -> int:
        """One request that cannot be resolved does not keep the others, or the grants, from being swept."""
        left = list(self._unsettled.values())
        settled = await asyncio.gather(*(self._settle_once(*one) for one in left), return_exceptions=True)
        _log_failures(settled)
        orphans = await asyncio.to_thread(self._db.read, self._orphans)
        for start in range(0, len(orphans), RESOLVED_AT_ONCE):
            some = orphans[start : start + RESOLVED_AT_ONCE]
            rows = await asyncio.gather(*(self._resolve_orphan(orphan, journal) for orphan in some), return_exceptions=True)
            _log_failures(rows)
        await self._db.write(lambda tx: grants.expire(tx, self._clock.now()))
        return len(left) + len(orphans)

    def _orphans(self, tx: Tx) -> list[OpenHold]:
        return [hold for hold in store.holds_of(tx, self.epoch) if hold.request_id not in self._live]

    async def _resolve_orphan(self, orphan: OpenHold, journal: Journal) -> Usage | None:
        raw_id = id_bytes(orphan.request_id)
        mark = journal.watermark(raw_id)
        usage = await self._db.write(lambda tx: self._unless_live(tx, orphan, mark))
        if usage is not None:
            journal.forget(raw_id)
        return usage

    def _unless_live(self, tx: Tx, orphan: OpenHold, mark: Watermark) -> Usage | None:
        """Its request may have been asked for again since it was found: then it has a stream of its own."""
        if orphan.request_id in self._live:
            return None
        return store.resolve_dead(tx, orphan, mark, self._clock.now())

    async def _recover(self, epoch: int) -> Recovery:
        marks = await asyncio.to_thread(watermarks, self._folder)
        found = Recovery()
        while holds := self._db.read(lambda tx: store.holds_before(tx, epoch, RESOLVED_AT_ONCE)):
            rows = await asyncio.gather(*(self._resolve_dead(hold, marks) for hold in holds), return_exceptions=True)
            usage = [row for row in rows if not isinstance(row, BaseException)]
            for error in rows:
                if isinstance(error, BaseException):
                    raise error
            billed = sum(row.tokens != NO_TOKENS for row in usage)
            found = Recovery(
                found.settled + billed, found.voided + len(usage) - billed, found.waived + sum(row.waived for row in usage)
            )
        _delete_segments(self._folder)
        return found

    async def _resolve_dead(self, dead: OpenHold, marks: dict[bytes, Watermark]) -> Usage:
        mark = marks.get(id_bytes(dead.request_id), NOTHING_RECORDED)
        return await self._db.write(lambda tx: store.resolve_dead(tx, dead, mark, self._clock.now()))


def _delete_segments(folder: Path) -> None:
    for segment in segments(folder):
        segment.unlink()


def _log_failures(results: Sequence[object]) -> None:
    for result in results:
        if isinstance(result, Exception):
            _log_failure(result)


def _log_failure(error: BaseException) -> None:
    """A refusal is an event in a sentence; anything else is a bug, and its place is wanted."""
    if isinstance(error, Refusal):
        _log.warning("a hold is not resolved yet, the next sweep tries again: %s", error.sentence)
    else:
        _log.error("a hold could not be resolved, the next sweep tries again", exc_info=error)
