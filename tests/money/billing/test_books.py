"""The books as the gateway uses them: cancellation, refused disks, sweeper, shutdown and recovery."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.money.house import House, disagreements, on_disk, outcome, payer, request
from tests.money.memory import MemoryDatabase, bury, disk_full

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.handle import Hold
from millrace.money.billing.hold import Outcome
from millrace.money.billing.succession import Recovery
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.metering import store as metering
from millrace.money.metering.journal import Journal, segments
from millrace.money.metering.usage import Status, Usage
from millrace.store.transaction import Tx


class Gateway:
    """Books over a house in memory whose disk refuses as often as `refuse` says; `reboot` kills and opens them again.
    """

    def __init__(self, folder: Path) -> None:
        self.house = House()
        self.house.give("acme", "10")
        self.db = Refusing(self.house)
        self.folder = folder
        self.books = Books(self.db, folder, self.house.clock)

    async def reboot(self) -> Recovery:
        bury(self.books)
        self.books = Books(self.db, self.folder, self.house.clock)
        return await self.books.open()

    async def hold(self, number: int, output_bound: int = 100, *, budget: bool = False) -> Hold:
        return await self.books.hold(
            request(number), payer("acme", budget=budget), self.house.price["tiny"], 100, output_bound
        )

    def release(self, hold: Hold, output: int, confirmed: int) -> None:
        said = NO_TOKENS if confirmed == 0 else TokenCounts(100, 0, confirmed, 0)
        self.books.progress(hold, TokenCounts(100, 0, output, 0), said, CountedBy.ENGINE)

    def usage(self, number: int) -> Usage | None:
        return metering.by_request(self.house.tx, request(number))


class Refusing(MemoryDatabase):
    """A disk that refuses the next `refuse` writes; `gate` holds every write up until it is set."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.refuse = 0
        self.kept = False
        self.gate: asyncio.Event | None = None

    async def commit(self, work: Callable[[Tx], object]) -> object:  # type: ignore[override]
        if self.gate is not None:
            await self.gate.wait()
        if self.refuse:
            self.refuse -= 1
            if self.kept:
                self.house.do(work)
            raise disk_full()
        return await super().commit(work)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


async def turns() -> None:
    """Let everybody come as far as they can."""
    for _ in range(50):
        await asyncio.sleep(0)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene()

    asyncio.run(run())


def test_a_request_from_hold_to_receipt(gateway: Gateway) -> None:
    """Held, extended, recorded, settled; nothing is live after it and nothing reserved."""

    async def scene() -> None:
        assert await gateway.books.open() == Recovery()
        assert gateway.books.epoch == 2
        hold = await gateway.hold(1, 50)
        assert gateway.books.live == 1
        await gateway.books.extend(hold, 80)
        assert hold.output_bound == 80
        gateway.release(hold, 70, 60)
        usage = await gateway.books.settle(hold, outcome(100, 70))
        assert usage.amount == 240_000_000
        assert gateway.books.live == 0
        gateway.books.sync_journal()
        await gateway.books.close()
        assert segments(gateway.folder) == []
        assert gateway.house.disagreements() == []

    play(scene)


def test_settling_twice_bills_once(gateway: Gateway) -> None:
    """One after the other, or at once and with other counts: both are answered with the first one's row."""

    async def scene() -> None:
        await gateway.books.open()
        for number in (1, 2):
            hold = await gateway.hold(number)
            settlements = [gateway.books.settle(hold, outcome(100, output)) for output in (7, 9)]
            rows = await asyncio.gather(*settlements) if number == 1 else [await one for one in settlements]
            assert [row.tokens.output for row in rows] == [7, 7]
        assert gateway.house.disagreements() == []

    play(scene)


def test_the_same_request_cannot_run_twice(gateway: Gateway) -> None:
    """The second is refused, and the first stays live: the sweeper does not take its hold."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        with pytest.raises(Refusal) as refused:
            await gateway.hold(1)
        assert refused.value.reason is Reason.CONFLICT
        assert await gateway.books.sweep() == 0
        assert (await gateway.books.settle(hold, outcome(100, 1))).tokens.output == 1

    play(scene)


def test_a_refused_hold_leaves_nothing(gateway: Gateway) -> None:
    """Neither live nor reserved."""

    async def scene() -> None:
        await gateway.books.open()
        with pytest.raises(Refusal):
            await gateway.hold(1, 1_000_000)
        assert gateway.books.live == 0
        assert await gateway.books.sweep() == 0
        assert gateway.house.balance("acme").held == 0

    play(scene)


def test_a_caller_cancelled_while_holding_leaves_an_orphan_for_the_sweeper(gateway: Gateway) -> None:
    """The write goes on without its caller; nobody will settle it, so the sweeper voids it."""

    async def scene() -> None:
        await gateway.books.open()
        gateway.db.gate = asyncio.Event()
        task = asyncio.create_task(gateway.hold(1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gateway.books.live == 0
        gateway.db.gate = None
        gateway.house.epoch = gateway.books.epoch
        gateway.house.hold(1, "acme", 100, 100, budget=True)  # what the writer does, although nobody waits for it
        assert await gateway.books.sweep() == 1
        usage = gateway.usage(1)
        assert usage is not None
        assert (usage.status, usage.tokens) == (Status.FAILED, NO_TOKENS)
        assert gateway.house.balance("acme").held == 0
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_hold_that_its_stream_lost_is_settled_at_its_watermark(gateway: Gateway) -> None:
    """A stream that breaks without settling lets go of its hold: the sweeper bills what surely went out."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.release(hold, 20, 10)
        assert await gateway.books.sweep() == 0
        del hold
        assert gateway.books.live == 0
        assert await gateway.books.sweep() == 1
        usage = gateway.usage(1)
        assert usage is not None
        assert (usage.tokens.output, usage.waived, usage.status) == (10, 10, Status.FAILED)
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_request_held_again_is_not_swept(gateway: Gateway) -> None:
    """Found as an orphan, asked for again before the sweeper came to it: it has a stream of its own now."""

    async def scene() -> None:
        await gateway.books.open()
        gateway.house.epoch = gateway.books.epoch
        gateway.house.hold(1, "acme", 100, 100)
        (orphan,) = gateway.books._orphans(gateway.house.tx)
        hold = await gateway.hold(1)
        await gateway.books._resolve_orphan(orphan, gateway.books._journal)  # type: ignore[arg-type]
        assert (await gateway.books.settle(hold, outcome(100, 9))).tokens.output == 9
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_caller_cancelled_while_settling_is_settled_all_the_same(gateway: Gateway) -> None:
    """The client is gone, the charge is not."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.db.gate = asyncio.Event()
        task = asyncio.create_task(gateway.books.settle(hold, outcome(100, 3)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gateway.db.gate.set()
        await turns()
        usage = gateway.usage(1)
        assert usage is not None
        assert (usage.tokens.output, gateway.books.live) == (3, 0)
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_caller_cancelled_while_its_settlement_is_tried_again(gateway: Gateway) -> None:
    """The tries go on without it."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.db.refuse = 3
        task = asyncio.create_task(gateway.books.settle(hold, outcome(100, 3)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await turns()
        assert task.cancelled()
        assert gateway.usage(1) is not None
        assert gateway.books.live == 0

    play(scene)


def test_close_waits_for_settlements_that_are_being_tried_again(gateway: Gateway) -> None:
    """Nothing of ours is under way any more when `close` returns: the database is closed after it."""

    class Slow(FakeClock):
        over = asyncio.Event()

        async def sleep(self, _: float) -> None:
            await self.over.wait()

    async def scene() -> None:
        clock = Slow(gateway.house.clock.now())
        books = Books(gateway.db, gateway.folder, clock)
        await books.open()
        hold = await books.hold(request(1), payer("acme"), gateway.house.price["tiny"], 100, 100)
        gateway.db.refuse = 1
        settling = asyncio.create_task(books.settle(hold, outcome(100, 3)))
        await turns()
        closing = asyncio.create_task(books.close())
        await turns()
        assert not closing.done()
        clock.over.set()
        await closing
        assert settling.done()
        assert segments(gateway.folder) == []

    play(scene)


@pytest.mark.parametrize("kept", [False, True])
def test_a_disk_that_refuses_for_a_while_delays_a_settlement(gateway: Gateway, kept: bool) -> None:
    """It is tried again; whether the refused commit was kept or not, the request is billed once."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.db.refuse, gateway.db.kept = 4, kept
        assert (await gateway.books.settle(hold, outcome(100, 3))).tokens.output == 3
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_settlement_that_the_disk_refuses_for_long_is_the_sweepers(gateway: Gateway) -> None:
    """The caller is told, the request stays live, and the next sweep settles it at its own outcome."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.db.refuse = 5
        with pytest.raises(Refusal) as refused:
            await gateway.books.settle(hold, outcome(100, 3))
        assert refused.value.reason is Reason.STORE_UNAVAILABLE
        assert gateway.books.live == 1
        assert await gateway.books.sweep() == 1
        assert gateway.books.live == 0
        usage = gateway.usage(1)
        assert usage is not None
        assert (usage.tokens.output, usage.status) == (3, Status.COMPLETED)
        assert gateway.house.disagreements() == []

    play(scene)


def test_one_that_cannot_be_settled_does_not_stop_the_sweep(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one request is logged; the orphans are resolved and the grants expired all the same."""

    async def scene() -> None:
        await gateway.books.open()
        gateway.house.give("acme", "1", expires_in_s=60)
        bad = await gateway.hold(1)
        bad.price = gateway.house.price["free"]
        with pytest.raises(AssertionError):
            await gateway.books.settle(bad, outcome(1, 1))
        gateway.house.epoch = gateway.books.epoch
        gateway.house.hold(2, "acme", 1, 1)
        gateway.house.clock.advance(61)
        with caplog.at_level(logging.ERROR):
            assert await gateway.books.sweep() == 2
        assert "cannot be rated" in caplog.text
        assert gateway.usage(2) is not None
        assert gateway.house.tx.rows("SELECT COUNT(*) FROM transfer WHERE id LIKE '%/expired/%'") == [(1,)]
        assert gateway.books.live == 1

    play(scene)


def test_a_crash_settles_at_what_surely_went_out(gateway: Gateway) -> None:
    """Confirmed is billed, in doubt is waived, nothing recorded is void; and a second boot finds nothing to do."""

    async def scene() -> None:
        await gateway.books.open()
        holds = [await gateway.hold(number, budget=True) for number in (1, 2, 3)]
        gateway.release(holds[0], 10, 0)
        gateway.release(holds[0], 20, 10)
        gateway.release(holds[1], 5, 0)
        assert await gateway.reboot() == Recovery(settled=1, voided=2, waived=10 + 105)
        rows = [gateway.usage(number) for number in (1, 2, 3)]
        found = [(row.tokens.input, row.tokens.output, row.waived) for row in rows if row]
        assert found == [(100, 10, 10), (0, 0, 105), (0, 0, 0)]
        assert await gateway.reboot() == Recovery()
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_lower_final_count_is_what_a_crash_bills(gateway: Gateway) -> None:
    """The engine corrected 90 estimated tokens to 80 before the crash: 80 are billed, none waived."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.release(hold, 90, 85)
        gateway.books.progress(hold, TokenCounts(100, 0, 80, 0), TokenCounts(100, 0, 90, 0), CountedBy.ENGINE_FINAL)
        assert await gateway.reboot() == Recovery(settled=1)
        usage = gateway.usage(1)
        assert usage is not None
        assert (usage.tokens.output, usage.waived, usage.counted_by) == (80, 0, CountedBy.ENGINE_FINAL)

    play(scene)


@pytest.mark.parametrize("refused_after", range(5))
def test_a_recovery_that_is_stopped_is_taken_up_again(gateway: Gateway, refused_after: int) -> None:
    """Stopped after any of its writes (begin, fence, settle all, tend, end), the next boot goes on: journals stay until then.
    """

    async def scene() -> None:
        await gateway.books.open()
        for number in range(4):
            gateway.release(await gateway.hold(number), 20, 10)
        left = refused_after

        class Stopping(MemoryDatabase):
            async def commit(self, work: Callable[[Tx], object]) -> object:  # type: ignore[override]
                nonlocal left
                if left == 0:
                    raise disk_full()
                left -= 1
                return await super().commit(work)

        bury(gateway.books)
        stopped = Books(Stopping(gateway.house), gateway.folder, gateway.house.clock)
        with pytest.raises(Refusal):
            await stopped.open()
        bury(stopped)
        assert len(segments(gateway.folder)) == min(2, 1 + refused_after)
        recovery = await gateway.reboot()
        assert (recovery.settled, recovery.waived) == (4 if refused_after < 3 else 0, 10 * recovery.settled)
        assert sum(usage.tokens.output for number in range(4) if (usage := gateway.usage(number))) == 40
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_journal_of_an_older_epoch_bills_nobody_again(gateway: Gateway) -> None:
    """Killed after the last hold was resolved and before the journal went: the next boot finds it, and no hold for it.
    """

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.release(hold, 20, 10)
        await gateway.books.settle(hold, outcome(100, 20))
        assert len(segments(gateway.folder)) == 1
        assert await gateway.reboot() == Recovery()
        assert [path.name for path in segments(gateway.folder)] == ["00000003-000001.journal"]
        usage = gateway.usage(1)
        assert usage is not None
        assert usage.tokens.output == 20

    play(scene)


def test_close_keeps_the_journal_of_what_is_still_running(gateway: Gateway) -> None:
    """A stream that was not drained is settled by the next boot at its watermark, and gets nothing more till then."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.release(hold, 20, 10)
        await gateway.books.close()
        with pytest.raises(Refusal):
            gateway.release(hold, 30, 20)
        with pytest.raises(Refusal):
            await gateway.hold(2)
        gateway.books.sync_journal()
        assert await gateway.books.sweep() == 0
        await gateway.books.close()
        assert await gateway.reboot() == Recovery(settled=1, waived=10)
        assert gateway.house.disagreements() == []

    play(scene)


def test_a_full_disk_at_close_leaves_all_for_the_next_boot(gateway: Gateway) -> None:
    """`close` says so, and closes the journal all the same."""

    async def scene() -> None:
        await gateway.books.open()
        hold = await gateway.hold(1)
        gateway.release(hold, 20, 10)
        gateway.db.refuse = 99
        with pytest.raises(Refusal):
            await gateway.books.settle(hold, outcome(100, 20))
        with pytest.raises(Refusal):
            await gateway.books.close()
        gateway.db.refuse = 0
        assert await gateway.reboot() == Recovery(settled=1, waived=10)

    play(scene)


def test_books_that_are_not_open_take_nothing(gateway: Gateway) -> None:
    """Before `open` and after a failed one."""

    async def scene() -> None:
        with pytest.raises(Refusal) as refused:
            await gateway.hold(1)
        assert refused.value.reason is Reason.STORE_UNAVAILABLE
        gateway.db.refuse = 1
        with pytest.raises(Refusal):
            await gateway.books.open()
        with pytest.raises(Refusal):
            await gateway.hold(1)
        await gateway.books.close()

    play(scene)


def test_a_journal_that_cannot_be_written_refuses_the_chunk(tmp_path: Path) -> None:
    """What cannot be recorded is not released: the stream ends and is settled at what was."""

    class Full(Journal):
        def record(self, *_: object) -> None:
            raise disk_full()

    async def scene() -> None:
        house = House()
        house.give("acme", "1")
        books = Books(MemoryDatabase(house), tmp_path, house.clock, journal=Full)
        await books.open()
        hold = await books.hold(request(1), payer("acme"), house.price["tiny"], 10, 10)
        with pytest.raises(Refusal):
            books.progress(hold, TokenCounts(10, 0, 1, 0), NO_TOKENS, CountedBy.ENGINE)
        ended = Outcome(status=Status.FAILED, counts=NO_TOKENS, counted_by=CountedBy.ENGINE)
        assert (await books.settle(hold, ended)).amount == 0
        await books.close()

    play(scene)


def test_two_writers_on_one_file_admit_exactly_what_there_is(tmp_path: Path) -> None:
    """Two processes' worth of doors and a thousand callers: a balance of exactly 300 requests admits exactly 300."""
    first, second = on_disk(tmp_path), None
    try:
        second = type(first)(first.path)
        house = House()
        clock = FakeClock(house.clock.now())
        first.write_now(lambda tx: _give(tx, house, 300))
        both = [Books(db, tmp_path / name, clock) for db, name in ((first, "a"), (second, "b"))]

        async def scene() -> None:
            for books in both:
                await books.open()
            asked = await asyncio.gather(
                *(both[n % 2].hold(request(n), payer("acme"), house.price["tiny"], 500, 250) for n in range(1_000)),
                return_exceptions=True,
            )
            held = [(both[n % 2], hold) for n, hold in enumerate(asked) if isinstance(hold, Hold)]
            assert len(held) == 300
            refusals = [one.reason for one in asked if isinstance(one, Refusal)]
            assert refusals == [Reason.INSUFFICIENT_CREDIT] * 700
            await asyncio.gather(*(books.settle(hold, outcome(500, n % 250)) for n, (books, hold) in enumerate(held)))
            for books in both:
                await books.close()

        play(scene)
        assert first.read(disagreements) == []
        assert first.read(lambda tx: tx.rows("SELECT COUNT(*), SUM(amount) FROM usage")) == [
            (300, sum(500_000_000 + 2_000_000 * (n % 250) for n in range(300)))
        ]
    finally:
        first.close()
        if second is not None:
            second.close()


def _give(tx: Tx, house: House, yuan: int) -> None:
    grants.give(
        tx,
        grants.new_grant(
            id="gr_1", tenant_id="ten_acme", amount=yuan * NANO, currency="CNY", funding=Funding.CUSTOMER,
            now=house.clock.now(),
        ),
    )  # fmt: skip
