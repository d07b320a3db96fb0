"""Several servers on one database: who is dead is taken over, who only slept finds out, and every token is billed or waived."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.money.house import House, outcome, payer, request
from tests.money.memory import MemoryDatabase, bury, disk_full

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.handle import Hold
from millrace.money.billing.life import Fenced
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import Claim, Space, State
from millrace.money.metering import store as metering
from millrace.money.metering.journal import segments
from millrace.money.metering.usage import Usage
from millrace.store.transaction import Tx

LEASE_S = 5


class Away(MemoryDatabase):
    """A database that a server cannot reach while `away` is set."""

    away = False

    async def commit(self, work: Callable[[Tx], object]) -> object:  # type: ignore[override]
        if self.away:
            raise disk_full()
        return await super().commit(work)


@dataclass
class Cloud:
    """A house, and servers on it: each with a machine of its own unless they are put into one folder."""

    folder: Path
    house: House = field(default_factory=House)

    def __post_init__(self) -> None:
        self.house.give("acme", "10")

    async def server(self, home: str) -> Books:
        books = Books(Away(self.house), self.folder / home, self.house.clock, shared=True, far=True)
        await books.open()
        return books

    async def hold(self, books: Books, number: int, claim: Claim | None = None) -> Hold:
        return await books.hold(request(number), payer("acme"), self.house.price["tiny"], 100, 100, claim=claim)

    def usage(self, number: int) -> Usage | None:
        return metering.by_request(self.house.tx, request(number))

    def billed(self, number: int) -> tuple[int, int, int] | None:
        """Input, output and waived tokens."""
        usage = self.usage(number)
        return None if usage is None else (usage.tokens.input, usage.tokens.output, usage.waived)

    def late(self) -> list[tuple[str, int]]:
        return self.house.tx.rows("SELECT request_id, recorded FROM waiver ORDER BY request_id")


def release(books: Books, hold: Hold, output: int, confirmed: int) -> None:
    said = TokenCounts(100, 0, confirmed, 0) if confirmed else NO_TOKENS
    books.progress(hold, TokenCounts(100, 0, output, 0), said, CountedBy.ENGINE)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene()

    asyncio.run(run())


def test_nobody_alive_is_taken_over(cloud: Cloud) -> None:
    """Neither a neighbour nor a server elsewhere, as long as it renews its lease."""

    async def scene() -> None:
        one, near, far = [await cloud.server(home) for home in ("a", "a", "b")]
        hold = await cloud.hold(one, 1)
        for _ in range(4):
            cloud.house.clock.advance(LEASE_S - 1)
            for books in (one, near, far):
                await books.tend()
            for books in (near, far):
                assert await books.sweep() == 0
        assert (await one.settle(hold, outcome(100, 7))).tokens.output == 7
        assert (one.fenced, cloud.house.disagreements()) == (0, [])

    play(scene)


def test_a_dead_neighbour_is_taken_over_at_once(cloud: Cloud) -> None:
    """Its lock is free: by its journal, long before its lease ends; what it left in the folder goes."""

    async def scene() -> None:
        one, near, far = [await cloud.server(home) for home in ("a", "a", "b")]
        hold = await cloud.hold(one, 1)
        release(one, hold, 20, 10)
        bury(one)
        await far.sweep()
        assert cloud.usage(1) is None, "its lease lasts"
        await near.sweep()
        assert cloud.billed(1) == (100, 10, 10)
        assert (near.recovery.settled, near.recovery.waived) == (1, 10)
        assert [path.name for path in segments(cloud.folder / "a")] == [f"{near.epoch:08d}-000001.journal"]
        assert cloud.house.disagreements() == []

    play(scene)


def test_a_dead_machine_is_taken_over_at_what_was_flushed(cloud: Cloud) -> None:
    """After its lease. What it sent since the last flush is noted as waived when its disk is seen again."""

    async def scene() -> None:
        one, far = [await cloud.server(home) for home in ("a", "b")]
        holds = [await cloud.hold(one, number) for number in (1, 2)]
        release(one, holds[0], 20, 10)
        await one.flush()
        release(one, holds[0], 40, 30)
        release(one, holds[1], 5, 0)
        bury(one)
        cloud.house.clock.advance(LEASE_S + 1)
        await far.sweep()
        assert [cloud.billed(number) for number in (1, 2)] == [(100, 10, 10), (0, 0, 0)]
        assert cloud.late() == []
        await cloud.server("a")
        assert cloud.late() == [(request(1), 140), (request(2), 105)]
        assert cloud.house.disagreements() == []

    play(scene)


def test_who_slept_finds_itself_fenced(cloud: Cloud) -> None:
    """Its streams end, nothing more leaves it, what it had sent is billed or waived, and it goes on with a new epoch."""

    async def scene() -> None:
        one, far = [await cloud.server(home) for home in ("a", "b")]
        holds = [await cloud.hold(one, number) for number in (1, 2)]
        release(one, holds[0], 20, 10)
        await one.flush()
        release(one, holds[0], 30, 20)
        cloud.house.clock.advance(LEASE_S + 1)
        await far.sweep()
        epoch = one.epoch
        assert not one.may_release
        with pytest.raises(Refusal, match="cannot be reached"):
            release(one, holds[0], 40, 30)
        with pytest.raises(Fenced):
            await cloud.hold(one, 3)
        assert (one.fenced, one.epoch > epoch, one.may_release) == (1, True, True)
        assert cloud.billed(1) == (100, 10, 10)
        assert cloud.late() == [(request(1), 130)]
        with pytest.raises(Fenced):
            release(one, holds[0], 40, 30)
        assert (await one.settle(holds[0], outcome(100, 30))).tokens.output == 10, "the taker's bill stands"
        assert cloud.usage(3) is None, "what was asked under the old epoch was not done"
        assert (await one.settle(await cloud.hold(one, 4), outcome(100, 1))).epoch == one.epoch
        assert cloud.house.disagreements() == []

    play(scene)


def test_a_late_waiver_counts_once(cloud: Cloud) -> None:
    """Written by the server itself and again from its journal by the next one in its home: the greatest stands."""

    async def scene() -> None:
        one, far = [await cloud.server(home) for home in ("a", "b")]
        hold = await cloud.hold(one, 1)
        release(one, hold, 20, 10)
        cloud.house.clock.advance(LEASE_S + 1)
        await far.sweep()
        await one.tend()
        assert one.fenced == 1
        bury(one)
        await cloud.server("a")
        assert cloud.late() == [(request(1), 120)]
        assert cloud.billed(1) == (0, 0, 0)

    play(scene)


def test_a_fenced_batch_does_nothing_at_all(cloud: Cloud) -> None:
    """Everybody in it is told, one new epoch is begun, and the database is as it was."""

    async def scene() -> None:
        one, far = [await cloud.server(home) for home in ("a", "b")]
        hold = await cloud.hold(one, 1)
        cloud.house.clock.advance(LEASE_S + 1)
        await far.sweep()
        before = cloud.house.tx.rows("SELECT * FROM transfer")
        asked = [cloud.hold(one, 2), one.extend(hold, 400), one.tend(), cloud.hold(one, 3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        told = [answers[place] for place in (0, 1, 3)]
        assert [type(answer) for answer in told] == [Fenced] * 3
        assert cloud.house.tx.rows("SELECT * FROM transfer") == before
        assert (one.fenced, one.live) == (1, 1)

    play(scene)


def test_a_taker_that_dies_is_taken_over_with_what_it_took(cloud: Cloud) -> None:
    """Half done: the next one settles the rest, and nothing is billed twice or lost from the journal of the first."""

    async def scene() -> None:
        one = await cloud.server("a")
        for number in (1, 2):
            release(one, await cloud.hold(one, number), 20, 10)
        await one.flush()
        release(one, await cloud.hold(one, 3), 30, 25)
        bury(one)
        cloud.house.clock.advance(LEASE_S + 1)
        taker = await _dies_half_way(cloud)
        heir = await cloud.server("a")
        assert cloud.usage(3) is None, "the taker's lease lasts"
        cloud.house.clock.advance(LEASE_S + 1)
        await heir.sweep()
        assert [cloud.billed(number) for number in (1, 2, 3)] == [(100, 10, 10), (100, 10, 10), (100, 25, 5)]
        assert taker.epoch not in {row[0] for row in cloud.house.tx.rows("SELECT number FROM epoch WHERE ended_at IS NULL")}
        assert cloud.house.disagreements() == []

    play(scene)


async def _dies_half_way(cloud: Cloud) -> Books:
    """On another machine: it has fenced the dead one and is gone before it settles anything."""
    books = Books(Away(cloud.house), cloud.folder / "b", cloud.house.clock, shared=True, far=True)

    class Stops(Exception):
        pass

    async def stop(_: object) -> None:
        raise Stops

    books._succession._ask = stop
    with pytest.raises(Stops):
        await books.open()
    bury(books)
    return books


def test_what_a_first_taker_did_not_know_is_waived_by_the_second(cloud: Cloud) -> None:
    """The first billed what was flushed and died before the end; the second has the journal, and notes the rest of it."""

    async def scene() -> None:
        one = await cloud.server("a")
        hold = await cloud.hold(one, 1)
        release(one, hold, 20, 10)
        bury(one)
        cloud.house.clock.advance(LEASE_S + 1)
        taker = await cloud.server("c")
        assert cloud.billed(1) == (0, 0, 0)
        cloud.house.tx.run("UPDATE epoch SET ended_at = NULL WHERE number = :number", number=one.epoch)  # killed just before
        bury(taker)
        cloud.house.clock.advance(LEASE_S + 1)
        await cloud.server("a")
        assert cloud.late() == [(request(1), 120)]

    play(scene)


def test_a_server_without_its_database_releases_nothing_after_its_lease(cloud: Cloud) -> None:
    """It waits, and goes on when the database answers before anybody took it over."""

    async def scene() -> None:
        one = await cloud.server("a")
        hold = await cloud.hold(one, 1)
        one._db.away = True  # type: ignore[attr-defined]
        cloud.house.clock.advance(LEASE_S - 1)
        release(one, hold, 10, 0)
        cloud.house.clock.advance(1)
        with pytest.raises(Refusal):
            release(one, hold, 20, 10)
        one._db.away = False  # type: ignore[attr-defined]
        waiting = asyncio.create_task(one.renewed())
        await one.tend()
        await waiting
        release(one, hold, 20, 10)
        assert (await one.settle(hold, outcome(100, 20))).tokens.output == 20
        assert one.fenced == 0

    play(scene)


def test_alone_nobody_waits_for_a_lease(tmp_path: Path) -> None:
    """One server on a laptop releases whatever its clock says."""

    async def scene() -> None:
        house = House()
        house.give("acme", "1")
        books = Books(MemoryDatabase(house), tmp_path, house.clock)
        await books.open()
        hold = await books.hold(request(1), payer("acme"), house.price["tiny"], 100, 100)
        house.clock.advance(3_600)
        release(books, hold, 10, 0)
        await books.flush()
        assert house.tx.rows("SELECT watermark FROM open_hold") == [(None,)], "there is nobody to flush for"

    play(scene)


def test_what_the_dead_had_claimed_is_lost_or_free(cloud: Cloud) -> None:
    """Billed: the repeat is told that the answer was lost. Nothing billed: it may run anew."""

    async def scene() -> None:
        one, far = [await cloud.server(home) for home in ("a", "b")]
        for number, confirmed in ((1, 10), (2, 0)):
            claim = Claim(
                key=f"key {number}", tenant_id="ten_acme", body="", request_id=request(number), epoch=one.epoch,
                space_max=Space(keys=9, bytes=10**9),
            )  # fmt: skip
            release(one, await cloud.hold(one, number, claim), 20, confirmed)
        await one.flush()
        bury(one)
        cloud.house.clock.advance(LEASE_S + 1)
        await far.sweep()
        found = [idempotency.find(cloud.house.tx, "ten_acme", f"key {number}") for number in (1, 2)]
        assert [one and one.state for one in found] == [State.LOST, None]
        assert cloud.house.disagreements() == []

    play(scene)


def test_credit_that_lies_with_a_silent_server_is_waited_for_and_then_503(cloud: Cloud) -> None:
    """Not 402: the tenant has it. When the silent one is taken over, the next try succeeds."""

    async def scene() -> None:
        one, far = [await cloud.server(home) for home in ("a", "b")]
        for books in (one, far):
            await books.tend()
        for number in range(40):
            await one.settle(await one.hold(request(number), payer("acme"), cloud.house.price["tiny"], 10, 0), outcome(0, 0))
        assert cloud.house.tx.rows("SELECT epoch FROM lease") == [(one.epoch,)]
        before = cloud.house.clock.monotonic()
        with pytest.raises(Refusal, match="lies with a server that does not answer") as refused:
            await far.hold(request(90), payer("acme"), cloud.house.price["tiny"], 9_500, 0)
        assert (refused.value.reason, refused.value.retry_after_s) == (Reason.STORE_UNAVAILABLE, 5)
        assert cloud.house.clock.monotonic() - before >= 2_000_000_000
        bury(one)
        cloud.house.clock.advance(LEASE_S)
        await far.sweep()
        await far.hold(request(90), payer("acme"), cloud.house.price["tiny"], 9_500, 0)
        assert cloud.house.disagreements() == []

    play(scene)


def test_what_the_release_before_left_is_settled_by_its_journal(cloud: Cloud) -> None:
    """Its epochs have no home: there was one server then, in one folder, and its journal lies there."""

    async def scene() -> None:
        one = await cloud.server("a")
        release(one, await cloud.hold(one, 1), 20, 10)
        bury(one)
        cloud.house.tx.run("UPDATE epoch SET home = '', slot = 0, lease_until = 0 WHERE number = :number", number=one.epoch)
        cloud.house.clock.advance(1)
        await cloud.server("a")
        assert (cloud.billed(1), cloud.late()) == ((100, 10, 10), [])
        assert cloud.house.disagreements() == []

    play(scene)


def test_a_hold_that_cannot_be_resolved_keeps_nobody_from_starting(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """The others of its epoch are settled, it is said with its place, and each sweep tries again until it can be."""

    async def scene() -> None:
        one = Books(Away(cloud.house), cloud.folder / "a", cloud.house.clock)
        await one.open()
        for number in (1, 2):
            release(one, await cloud.hold(one, number), 20, 10)
        bury(one)
        broken = "UPDATE open_hold SET amount = amount + :more WHERE request_id = :id"
        cloud.house.tx.run(broken, id=request(1), more=-NANO // 4)
        alone = Books(Away(cloud.house), cloud.folder / "a", cloud.house.clock)
        assert (await alone.open()).settled == 1
        assert (cloud.billed(1), cloud.billed(2)) == (None, (100, 10, 10))
        assert "could not be resolved" in caplog.text
        cloud.house.tx.run(broken, id=request(1), more=NANO // 4)
        await alone.sweep()
        assert cloud.billed(1) == (100, 10, 10)
        await alone.close()

    play(scene)


def test_who_is_alone_but_for_a_worker_of_the_server_before_settles_what_that_leaves(cloud: Cloud) -> None:
    """A worker outlives its killed parent for some seconds: a server that starts meanwhile renews its lease, and takes over."""

    async def scene() -> None:
        orphan = Books(Away(cloud.house), cloud.folder / "a", cloud.house.clock, shared=True)
        await orphan.open()
        release(orphan, await cloud.hold(orphan, 1), 20, 10)
        alone = Books(Away(cloud.house), cloud.folder / "a", cloud.house.clock)
        await alone.open()
        assert alone.shared
        bury(orphan)
        await alone.sweep()
        assert cloud.billed(1) == (100, 10, 10)
        await alone.close()
        last = Books(Away(cloud.house), cloud.folder / "a", cloud.house.clock)
        await last.open()
        assert not last.shared
        await last.close()

    play(scene)
