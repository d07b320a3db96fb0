"""The books as the gateway sees them: hold, extend, progress, settle; recovery, take-over and the sweeper.

Theory of operation. A request is *live* from before its hold is written until its settlement is on disk, as long as
somebody has its `Hold` in hand, and only its own stream settles it. Every open hold of this epoch that is not live is
an orphan (its caller was cancelled between the hold and the answer, or lost it without settling), which the sweeper
resolves. Every open hold of a server that is dead is resolved by whoever takes its epoch over. All of them bill what the
journal says was surely handed over and waive the rest, so that nothing stays reserved for ever and nobody pays for what he
did not get. Resolving is idempotent in the database: whoever comes second gets the first's row.

Everything that is written goes through one batch, which begins by renewing the epoch's lease. A server that slept past its
lease and was taken over finds itself *fenced* there: nothing of the batch is kept, its streams end, and it goes on with a
new epoch. Where others may take over (`shared`), nothing is released past the lease either.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import id_bytes, id_from_bytes
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.allowances.allowance import Rate
from millrace.money.billing import store
from millrace.money.billing.busy import Busy
from millrace.money.billing.desk import Ours
from millrace.money.billing.handle import Hold
from millrace.money.billing.hold import OpenHold, Outcome, Payer
from millrace.money.billing.life import Fenced, HeirOf, Life, clear, not_renewed
from millrace.money.billing.orders import Also, Order, Recalling, ToFlush, ToHold, ToSettle, ToTend
from millrace.money.billing.serving import serve
from millrace.money.billing.succession import RESOLVED_AT_ONCE, Recovery, Succession, log_failure, log_failures, of_the_dead
from millrace.money.epochs import store as epochs
from millrace.money.epochs.store import LEASE_NS
from millrace.money.grants import store as grants
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import Answered, Claim
from millrace.money.metering.journal import Journal
from millrace.money.metering.usage import Usage
from millrace.money.rating.book import PriceVersion
from millrace.store.database import Database
from millrace.store.transaction import Tx

_log = logging.getLogger("millrace.books")

SETTLE_TRIES = 5
"""A settlement that the disk refuses is tried this often at once; then the sweeper goes on with it."""

SETTLE_RETRY_S = 0.2

RECALL_S: Final = 2.0
"""How long a hold waits for credit that lies in other servers' slices: some times what a living one takes to give it back."""

RECALL_EVERY_S: Final = 0.05

T = TypeVar("T")


class _Served(NamedTuple):
    """What an order came to, and the time before its batch renewed the lease."""

    value: Any
    asked_at: int


class Books:
    """One server's door to the money rooms. `open` it before serving, `close` it after the last request.

    `shared`: other servers have the same database, so the lease counts, and limits per minute are kept there. `far`: on
    other machines too, so that how far requests have come is brought to the database.
    """

    def __init__(
        self, db: Database, folder: Path, clock: Clock, *, shared: bool = False, far: bool = False,
        journal: Callable[[Path, int], Journal] = Journal, lease_ns: int = LEASE_NS, heir_of: HeirOf | None = None,
    ) -> None:  # fmt: skip
        self._db = db
        self._folder = folder
        self._clock = clock
        self._far = far
        self._make_journal = journal
        self._journal: Journal | None = None
        self._lease_ns = lease_ns
        self._life = Life(folder, clock, far=far, lease_ns=lease_ns)
        self._succession = Succession(db, folder, self._life, clock, lease_ns, self._ask, heir_of)
        self._ours = Ours(epoch=0, slot=1)
        self._busy = Busy()
        self._live: WeakValueDictionary[str, Hold] = WeakValueDictionary()
        self._sweeping: set[str] = set()
        self._unsettled: dict[str, tuple[Hold, ToSettle]] = {}
        self._settling: set[asyncio.Task[Usage]] = set()
        self._flushed: dict[bytes, bytes] = {}
        self._beginning: asyncio.Task[None] | None = None
        self._batch = self._serve  # one object, so that the writer sees that orders belong together
        self.shared = shared
        self.recovery = Recovery()
        self.fenced = 0
        """How often this server was taken over while it slept."""

    @property
    def epoch(self) -> int:
        return self._ours.epoch

    @property
    def live(self) -> int:
        """Requests held and not settled."""
        return len(self._live)

    async def open(self) -> Recovery:
        """Begin a new epoch and resolve every hold that the dead left open.

        Killed or refused at any point, the next `open` goes on where this one was: journals go only after the last
        hold.
        """
        await self._begin()
        self.recovery = await self._succession.take_over(self.epoch)
        await self._succession.tidy(self.epoch)
        self.shared = self.shared or await self._succession.has_neighbours(self.epoch)
        return self.recovery

    async def close(self) -> None:
        """Settle what is left and end the epoch. What cannot be settled now, the next `open` settles by the journal."""
        journal, self._journal = self._journal, None
        if journal is None:
            return
        over = False
        try:
            await asyncio.gather(*self._settling, return_exceptions=True)
            await self._sweep(journal)
            await self._ask(ToTend(all=True))
            over = await self._db.write(self._end)
        except Fenced as fenced:
            _log.warning("closing: %s", fenced.sentence)
        finally:
            journal.close()
            self._life.unlock()
        if over:
            clear(self._folder, self.epoch)

    async def hold(
        self, request_id: str, payer: Payer, price: PriceVersion, input_bound: int, output_bound: int, *,
        rates: tuple[Rate, ...] = (), claim: Claim | None = None, sold_as: str | None = None,
    ) -> Hold:  # fmt: skip
        """Reserve the most that the request can cost; durable when this returns. `sold_as`: see ToHold."""
        if self._journal is None:
            raise Refusal(Reason.STORE_UNAVAILABLE, "the books are closed; the server is starting or stopping", retry_after_s=1)
        if request_id in self._live or request_id in self._sweeping:
            raise Refusal(Reason.CONFLICT, f"request {request_id} is running")
        hold = Hold(request_id, id_bytes(request_id), payer, price, output_bound, self.epoch, claim is not None, sold_as)
        self._live[request_id] = hold
        self._busy.note(payer.tenant_id, self._clock.monotonic())
        order = ToHold(
            request_id=request_id, payer=payer, price=price, sold_as=sold_as, input_bound=input_bound,
            output_bound=output_bound, rates=rates, claim=claim,
        )  # fmt: skip
        try:
            held: OpenHold = await self._when_recalled(lambda: self._ask(order))
        except BaseException:  # cancelled: the hold may be made all the same, and is the sweeper's then
            del self._live[request_id]
            raise
        hold.output_bound = held.output_bound
        hold.epoch = held.epoch
        return hold

    async def extend(self, hold: Hold, output_bound: int) -> None:
        """Make room for more output before what is held is used up. Refused, the hold stays as it was."""
        order = hold.to_extend(output_bound)
        extended: OpenHold = await self._when_recalled(lambda: self._ask(order))
        hold.output_bound = max(hold.output_bound, extended.output_bound)

    @property
    def may_release(self) -> bool:
        """Whether nobody can have taken this server over yet. Where this is False, wait for `renewed` before `progress`."""
        return not self.shared or self._life.may_release

    async def renewed(self) -> None:
        """Return when something may be released again. Raises STORE_UNAVAILABLE when that takes too long."""
        await self._life.until_renewed()

    def progress(self, hold: Hold, counts: TokenCounts, confirmed: TokenCounts, counted_by: CountedBy) -> None:
        """Write down what the chunk about to be released brings the request to. Release it only after this returned.

        `confirmed` is what had been handed over whole before. Counts may go down when an engine corrects an estimate.
        """
        if self._journal is None:
            raise Refusal(Reason.STORE_UNAVAILABLE, "the books are closed; the server is stopping", retry_after_s=1)
        if hold.epoch != self.epoch:
            raise Fenced(hold.epoch)
        if not self.may_release:
            raise not_renewed()
        self._journal.record(hold.raw_id, counts, confirmed, counted_by)

    def confirm(self, hold: Hold, counts: TokenCounts, counted_by: CountedBy) -> None:
        """Write down that the kernel has all of what was recorded: it left, also when the lease has run out meanwhile."""
        if self._journal is not None and hold.epoch == self.epoch:
            self._journal.record(hold.raw_id, counts, counts, counted_by)

    async def settle(
        self, hold: Hold, outcome: Outcome, *, unused: Rate | None = None, answer: Answered | None = None,
        also: Also | None = None,
    ) -> Usage:  # fmt: skip
        """Bill what was released, once, whoever asks how often; the first outcome counts. Survives its caller's
        cancellation. `unused` goes back to the key's minute, `answer` is kept for repeats, `also` is done with it.

        Raises a Refusal with STORE_UNAVAILABLE when the disk refuses for longer; the sweeper then settles later.
        """
        order = hold.to_settle(outcome, unused, answer, also)
        first = self._unsettled.setdefault(hold.request_id, (hold, order))
        try:
            return await self._settle_once(*first)
        except asyncio.CancelledError:
            self._go_on(hold.request_id, refused=False)
            raise
        except Refusal as refusal:
            if refusal.reason is not Reason.STORE_UNAVAILABLE:
                raise
        return await asyncio.shield(self._go_on(hold.request_id, refused=True))

    async def sweep(self) -> int:
        """Settle what could not be, resolve orphans, take the dead over, expire grants and answers; returns how many holds."""
        return 0 if self._journal is None else await self._sweep(self._journal)

    async def tend(self) -> None:
        """Stay alive while nothing else is written, and give back slices of credit that are idle or asked for."""
        if self._journal is not None:
            with contextlib.suppress(Fenced):  # said where the new epoch begins
                living = await self._ask(ToTend())
                self._ours = self._ours._replace(living=living)

    async def flush(self) -> None:
        """Bring to the database how far running requests have come, for servers that cannot read our journal."""
        journal = self._journal
        if journal is None or not self._far:
            return
        records = journal.records()
        changed = {raw_id: mark for raw_id, mark in records.items() if self._flushed.get(raw_id) != mark}
        marks = tuple((id_from_bytes("req", raw_id), mark) for raw_id, mark in changed.items())
        with contextlib.suppress(Fenced):
            if marks:
                await self._ask(ToFlush(marks))
            self._flushed = records

    def sync_journal(self) -> None:
        """Bring the journal to the disk; called every so often from a thread."""
        journal = self._journal
        if journal is not None:
            journal.sync()

    def _serve(self, tx: Tx, orders: list[Order]) -> list[_Served | Exception]:
        """The batch: renew the lease, then serve; a server that is fenced does nothing at all."""
        asked_at = self._clock.monotonic()
        lease_now = tx.now(asked_at)
        ours = self._ours
        if not epochs.renew(tx, ours.epoch, lease_now, self._lease_ns):
            raise Fenced(ours.epoch)
        living = epochs.living(tx, lease_now) if any(isinstance(order, ToTend) for order in orders) else ours.living
        busy = self._busy.tenants(asked_at) if living > 1 else frozenset()
        ours = ours._replace(living=living, busy=busy, taken=self._succession.taken)
        answers = serve(tx, orders, ours, tx.now(self._clock.now()))
        return [answer if isinstance(answer, Exception) else _Served(answer, asked_at) for answer in answers]

    async def _ask(self, order: Order) -> Any:
        try:
            served = await self._db.post(self._batch, order)
        except Fenced as fenced:
            if fenced.epoch == self.epoch:
                await self._begin_again()
            raise
        self._life.renewed(served.asked_at)
        return served.value

    async def _when_recalled(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again for as long as other servers may take to give their slices of the credit back."""
        until = self._clock.monotonic() + round(RECALL_S * NS_PER_S)
        while True:
            try:
                return await ask()
            except Recalling:
                if self._clock.monotonic() >= until:
                    raise Refusal(
                        Reason.STORE_UNAVAILABLE,
                        "a part of this tenant's credit lies with a server that does not answer; try again in a few seconds",
                        retry_after_s=5,
                    ) from None
            await self._clock.sleep(RECALL_EVERY_S)

    async def _begin(self) -> None:
        """A new epoch with a journal of its own; whoever shares the folder sees at once that it lives."""
        asked_at = self._clock.monotonic()
        try:
            begun = await self._db.write(lambda tx: self._begun(tx, asked_at))
        except BaseException:
            self._life.unlock()  # the number may be given out again
            raise
        self._journal = self._make_journal(self._folder, begun.number)
        self._flushed = {}
        self._ours = Ours(epoch=begun.number, slot=begun.slot)
        self._life.renewed(asked_at)

    def _begun(self, tx: Tx, asked_at: int) -> epochs.Begun:
        now, home, lock = tx.now(self._clock.now()), self._life.home, self._life.lock
        return epochs.begin(tx, now=now, lease_now=tx.now(asked_at), home=home, lock=lock, lease_ns=self._lease_ns)

    async def _begin_again(self) -> None:
        """After being fenced; whoever finds it out first does it, the others wait."""
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._begin_anew())
        await asyncio.shield(self._beginning)

    async def _begin_anew(self) -> None:
        """What we had recorded for release and the taker cannot know is noted as waived."""
        old, journal = self.epoch, self._journal
        self._life.ended()
        try:
            if journal is None:  # closing: what is left is another's to settle
                return
            self.fenced += 1
            _log.error("epoch %d was taken over while this server slept; its streams end, and it goes on with a new one", old)
            late = await self._succession.waive({raw_id: journal.watermark(raw_id) for raw_id in journal.records()})
            if late:
                _log.warning("up to %d tokens that it had released are waived", late)
            await self._begin()
            journal.close()
        finally:
            self._beginning = None

    def _go_on(self, request_id: str, *, refused: bool) -> "asyncio.Task[Usage]":
        """Settle in the background what its caller does not wait for any more, or what the disk has refused once."""
        task = asyncio.create_task(self._settle_again(request_id, refused=refused))
        self._settling.add(task)
        task.add_done_callback(self._settled)
        return task

    async def _settle_again(self, request_id: str, *, refused: bool) -> Usage:
        first = self._unsettled[request_id]
        for tries_left in reversed(range(SETTLE_TRIES - refused)):
            if refused:
                await self._clock.sleep(SETTLE_RETRY_S)
            try:
                return await self._settle_once(*first)
            except Refusal as refusal:
                if refusal.reason is not Reason.STORE_UNAVAILABLE or tries_left == 0:
                    raise
                _log.warning("settlement of %s refused, trying again: %s", request_id, refusal.sentence)
                refused = True
        raise AssertionError("unreachable")

    async def _settle_once(self, hold: Hold, order: ToSettle) -> Usage:
        usage: Usage = await self._ask(order)
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
            log_failure(error)

    async def _sweep(self, journal: Journal) -> int:
        """One request that cannot be resolved does not keep the others, or the grants, from being swept."""
        left = list(self._unsettled.values())
        settled = await asyncio.gather(*(self._settle_once(*one) for one in left), return_exceptions=True)
        log_failures(settled)
        orphans = await asyncio.to_thread(self._db.read, self._orphans)
        for start in range(0, len(orphans), RESOLVED_AT_ONCE):
            some = orphans[start : start + RESOLVED_AT_ONCE]
            rows = await asyncio.gather(*(self._resolve_orphan(orphan, journal) for orphan in some), return_exceptions=True)
            log_failures(rows)
        if self.shared or self._succession.taken:
            self.recovery += await self._succession.take_over(self.epoch)
        await self._db.write(lambda tx: grants.expire(tx, tx.now(self._clock.now())))
        await self._db.write(lambda tx: idempotency.expire(tx, tx.now(self._clock.now())))
        return len(left) + len(orphans)

    def _orphans(self, tx: Tx) -> list[OpenHold]:
        return [hold for hold in store.holds_of(tx, self.epoch) if hold.request_id not in self._live]

    async def _resolve_orphan(self, orphan: OpenHold, journal: Journal) -> None:
        """Its request may have been asked for again since it was found: then it has a stream of its own."""
        if orphan.request_id in self._live:
            return
        self._sweeping.add(orphan.request_id)
        try:
            raw_id = id_bytes(orphan.request_id)
            await self._ask(of_the_dead(orphan.request_id, journal.watermark(raw_id)))
            journal.forget(raw_id)
        finally:
            self._sweeping.discard(orphan.request_id)

    def _end(self, tx: Tx) -> bool:
        return epochs.end(tx, self.epoch, tx.now(self._clock.now()))
