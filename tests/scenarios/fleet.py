"""A fleet on one database, from a seed: servers that are killed, paused, cut off or lose their disk while clients stream.

Time is the world's: it moves when the world says so, each server's clock runs a little faster or slower than it, and the
database has one of its own. A server stands still wherever it would wait, also between what it recorded and what it sends.
Every write falls at a moment that the seed chooses. What each client really got is kept here; `check` compares that with what
was billed and waived (see test_fleet.py for the promises).
"""

import asyncio
import heapq
import itertools
import random
import shutil
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import apsw
from tests.money.house import CREDIT_LIMIT, NOVEMBER_23, House, payer, request
from tests.money.memory import MemoryDatabase, bury
from tests.scenarios.at_once import AtOnce

from millrace.base.clock import NS_PER_S, FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.allowances.allowance import Rate
from millrace.money.billing.books import Books
from millrace.money.billing.busy import Busy
from millrace.money.billing.handle import Hold
from millrace.money.billing.hold import Outcome
from millrace.money.epochs import store as epochs
from millrace.money.grants.grant import Funding
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import Answered, Claim, Repeated, Space, State
from millrace.money.metering import store as metering
from millrace.money.metering.journal import RECORD_BYTES, Journal
from millrace.money.metering.usage import Status, Usage
from millrace.store.sqlite import SqliteTx
from millrace.store.transaction import Tx

TENANTS: Final = ("acme", "bolt", "mole")
INPUT: Final = 30
RPM: Final = 6
"""Requests a minute of bolt's key."""

EXPECTED: Final = {
    Reason.INSUFFICIENT_CREDIT, Reason.BUDGET_EXCEEDED, Reason.STORE_UNAVAILABLE, Reason.CONFLICT, Reason.RATE_LIMIT_EXCEEDED,
}  # fmt: skip

T = TypeVar("T")

_owner: ContextVar["Server | None"] = ContextVar("owner", default=None)


def away() -> Refusal:
    return Refusal(Reason.STORE_UNAVAILABLE, "the database does not answer", retry_after_s=1)


def expect(refusal: Refusal) -> None:
    """A refusal that a client may meet; any other is raised again."""
    if refusal.reason not in EXPECTED:
        raise refusal


@dataclass
class Client:
    """One request, as its client sees it; the books never see this."""

    number: int
    tenant: str
    server: "Server"
    key: str | None = None
    got: TokenCounts = NO_TOKENS
    recorded: int = 0
    flushed: int = 0
    """What was recorded when that was last brought to the database."""
    synced: int = 0
    """What was recorded when the journal was last brought to the disk."""
    receipt: Usage | None = None

    @property
    def delivered(self) -> int:
        return self.got.input + self.got.output if self.got.output else 0


class Time:
    """Nanoseconds since the world began, and who sleeps until when."""

    def __init__(self) -> None:
        self.now = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def until(self, at: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at, next(self._numbers), future))
        await future

    def next(self) -> int | None:
        return self._sleepers[0][0] if self._sleepers else None

    def wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self.now:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)


class ServerClock:
    """A server's clock: its rate is not quite right, and neither is its wall time."""

    def __init__(self, server: "Server", rate: float, offset_s: int) -> None:
        self._server = server
        self._rate = rate
        self._offset = NOVEMBER_23 + offset_s * NS_PER_S

    def now(self) -> int:
        return self._offset + self._server.world.time.now

    def monotonic(self) -> int:
        return round(self._server.world.time.now * self._rate)

    async def sleep(self, seconds: float) -> None:
        time = self._server.world.time
        await time.until(time.now + round(seconds * NS_PER_S))
        await self._server.gate()


class DatabaseTx(SqliteTx):
    """A database that has a clock, as PostgreSQL has."""

    def __init__(self, connection: apsw.Connection, clock: FakeClock) -> None:
        super().__init__(connection)
        self._clock = clock

    def now(self, ours: int) -> int:
        del ours
        return self._clock.now()


class Door(MemoryDatabase):
    """The way of one server to the database."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server.world.house, server.world.rng)
        self._server = server
        self.tx = server.world.faults.tx(server.world.house.connection, server.world.house.clock)

    async def commit(self, work: Callable[[Tx], T]) -> T:
        if self._server.cut:
            raise away()
        self.refusals = self._server.world.refusals
        return await super().commit(work)

    def read(self, work: Callable[[Tx], T]) -> T:
        if self._server.cut:
            raise away()
        return super().read(work)

    async def _pause(self) -> None:
        await self._server.gate()


class AllBusy(Busy):
    """Every tenant is worth a slice, so that small worlds have some."""

    def tenants(self, now: int) -> frozenset[str]:
        del now
        return frozenset(f"ten_{name}" for name in TENANTS)


class FlimsyJournal(Journal):
    """A journal whose unsynced end does not survive a power cut."""

    def __init__(self, folder: Path, epoch: int, segment_bytes_max: int) -> None:
        super().__init__(folder, epoch, segment_bytes_max)
        self._on_disk = self._offset

    def sync(self) -> None:
        super().sync()
        self._on_disk = self._offset

    def _rotate(self) -> None:
        super()._rotate()
        self._on_disk = self._offset

    def cut_power(self, rng: random.Random) -> None:
        """Of what was not synced each record is there, zero or garbled, and the last one is torn anywhere."""
        if not self._path.exists():
            return
        data = bytearray(self._path.read_bytes())
        for start in range(self._on_disk, len(data), RECORD_BYTES):
            fate = rng.choice(("there", "zero", "garbled"))
            if fate == "zero":
                data[start : start + RECORD_BYTES] = bytes(len(data[start : start + RECORD_BYTES]))
            elif fate == "garbled":
                data[min(start + rng.randrange(RECORD_BYTES), len(data) - 1)] ^= 1 << rng.randrange(8)
        if len(data) > self._on_disk:
            del data[rng.randint(self._on_disk, len(data)) :]
        self._path.write_bytes(data)


class FleetBooks(Books):
    """The books as a server has them, with small journals, and slices for everybody."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server.door, server.home, server.clock, shared=True, far=True, journal=server.journal)
        if server.world.sliced:
            self._busy = AllBusy()


class Faults:
    """What is planted into a world: nothing. See planted.py for those that break a promise."""

    records_before_it_releases = True

    def tx(self, connection: apsw.Connection, clock: FakeClock) -> SqliteTx:
        return DatabaseTx(connection, clock)

    def books(self, server: "Server") -> Books:
        return FleetBooks(server)


@dataclass(eq=False)
class Server:
    """One process, from its start to its end."""

    world: "Fleet" = field(repr=False)
    home: Path
    alive: bool = True
    ready: bool = False
    failed: bool = False
    """It could not open its books, and ends by itself."""
    cut: bool = False
    disk_lost: bool = False
    power_cut: bool = False
    streams: dict[int, "asyncio.Task[None]"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        rng = self.world.rng
        self.clock = ServerClock(self, rng.choice((0.97, 1.0, 1.03)), rng.choice((0, 0, -7_200, 90)))
        self.door = Door(self)
        self.books = self.world.faults.books(self)
        self._goes_on = asyncio.Event()
        self.go_on()

    @property
    def paused(self) -> bool:
        return not self._goes_on.is_set()

    def pause(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    def spawn(self, work: "Coroutine[Any, Any, None]") -> "asyncio.Task[None]":
        """A task that dies with the server, as do all that it makes."""
        before = _owner.set(self)
        task = asyncio.get_running_loop().create_task(work)
        _owner.reset(before)
        return task

    async def gate(self) -> None:
        """Wherever the server would wait: here it stands still while it is paused, and for ever when it is dead."""
        for _ in range(self.world.rng.choice((0, 0, 1, 2))):
            await asyncio.sleep(0)
        if not self.alive:
            await asyncio.get_running_loop().create_future()
        if self.paused:
            await self._goes_on.wait()

    def journal(self, folder: Path, epoch: int) -> Journal:
        made = FlimsyJournal(folder, epoch, self.world.rng.choice((4, 9, 1_000)) * RECORD_BYTES)
        self.world.journals.append((self.home, made))
        return made

    async def boot(self) -> None:
        try:
            await self.books.open()
        except Refusal as refusal:
            expect(refusal)
            self.failed = True
            return
        self.ready = True

    async def tend(self) -> None:
        await self._quietly(self.books.tend())

    async def sweep(self) -> None:
        await self._quietly(self.books.sweep())

    async def flush(self) -> None:
        """What a lost disk cannot take any more."""
        recorded = {number: self.world.clients[number].recorded for number in self.streams}
        try:
            await self.books.flush()
        except Refusal as refusal:
            expect(refusal)
            return
        for number, tokens in recorded.items():
            self.world.clients[number].flushed = tokens

    async def sync(self) -> None:
        """What a power cut cannot take any more."""
        self.books.sync_journal()
        for number in self.streams:
            self.world.clients[number].synced = self.world.clients[number].recorded

    async def _quietly(self, work: "Coroutine[Any, Any, object]") -> None:
        try:
            await work
        except Refusal as refusal:
            expect(refusal)

    async def serve(self, client: Client) -> None:
        """What a gateway does for one request."""
        try:
            hold = await self._hold(client)
        except Refusal as refusal:
            expect(refusal)
            return
        except Repeated:
            return
        status = Status.CANCELLED
        try:
            await self._generate(client, hold)
            status = Status.COMPLETED
        except Refusal as refusal:
            expect(refusal)
            status = Status.FAILED
        finally:
            if self.alive:
                await self._settle(client, hold, status)

    async def _hold(self, client: Client) -> Hold:
        rng, who = self.world.rng, payer(client.tenant, budget=self.world.rng.random() < 0.2)
        claim = None
        if client.key is not None:
            claim = Claim(
                key=client.key, tenant_id=who.tenant_id, body="same", request_id=request(client.number),
                epoch=self.books.epoch, space_max=Space(keys=1_000, bytes=10**12),
            )  # fmt: skip
        limited = client.tenant == "bolt" and who.budget is None
        rates = (Rate(who.key_id, "rpm", RPM, 1),) if limited else ()
        return await self.books.hold(
            request(client.number), who, self.world.house.price["tiny"], INPUT, rng.choice((5, 40, 60)),
            rates=rates, claim=claim,
        )  # fmt: skip

    async def _generate(self, client: Client, hold: Hold) -> None:
        rng, output = self.world.rng, 0
        for _ in range(rng.randint(0, 6)):
            output += rng.randint(1, 9)
            if output > hold.output_bound:
                if rng.random() < 0.3:
                    return
                await self.books.extend(hold, hold.output_bound + 50)
            if not self.books.may_release:
                await self.books.renewed()
            counts = TokenCounts(INPUT, 5, output, 0)
            if self.world.faults.records_before_it_releases:
                self._record(client, hold, counts)
                await self.gate()
                client.got = counts
            else:
                client.got = counts
                await self.gate()
                self._record(client, hold, counts)
            if rng.random() < 0.5:
                self.books.confirm(hold, counts, CountedBy.ENGINE)
            await self.clock.sleep(rng.choice((0.0, 0.1, 0.4, 1.0)))

    def _record(self, client: Client, hold: Hold, counts: TokenCounts) -> None:
        confirmed = client.got if client.got != counts else TokenCounts(INPUT, 5, max(0, counts.output - 1), 0)
        self.books.progress(hold, counts, confirmed, CountedBy.ENGINE)
        client.recorded = counts.input + counts.output

    async def _settle(self, client: Client, hold: Hold, status: Status) -> None:
        """Billed is what was sent; what was recorded and not sent is waived."""
        sent = client.got
        ended = Outcome(
            status=status, counts=sent, counted_by=CountedBy.ENGINE, waived=max(0, client.recorded - client.delivered)
        )
        answer = None
        if client.key is not None:
            answer = Answered(request_id=hold.request_id, status=200, form="text/plain", answer=b"%d" % sent.output)
        try:
            client.receipt = await self.books.settle(hold, ended, answer=answer)
        except Refusal as refusal:
            expect(refusal)


class Fleet:
    """Servers, clients and the database, from the seed."""

    def __init__(self, seed: int, folder: Path, faults: Faults | None = None) -> None:
        self.rng = random.Random(seed)
        self.faults = faults or Faults()
        self.folder = folder
        self.house = House()
        self.house.do(lambda tx: tx.run("UPDATE api_key SET rpm = :rpm WHERE id = 'key_bolt'", rpm=RPM))
        self.time = Time()
        self.clients: list[Client] = []
        self.servers: list[Server] = []
        self.journals: list[tuple[Path, FlimsyJournal]] = []
        self.granted = dict.fromkeys(TENANTS, 0)
        self.refusals = self.rng.choice((0.0, 0.0, 0.0, 0.1))
        self.sliced = self.rng.random() < 0.7
        self._owners: WeakKeyDictionary[asyncio.Task[Any], Server] = WeakKeyDictionary()
        self._homes = itertools.count(1)
        self.homes = [self._new_home() for _ in range(self.rng.randint(1, 3))]
        for name in TENANTS:
            for _ in range(self.rng.randint(1, 3)):
                self._grant(name)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(AtOnce())
        loop.set_task_factory(self._task)
        self.house.do(lambda tx: epochs.end(tx, self.house.epoch, self.house.clock.now()))
        for _ in range(self.rng.randint(2, 3)):
            await self.boot()
            await self.spin(60)
        await self.arrive()
        for _ in range(self.rng.randint(6, 14)):
            await self.turn()
        await self.end()

    async def turn(self) -> None:
        deed = self.rng.choices(
            (
                self.arrive, self.a_while, self.pass_time, self.wait_long, self.keep_house, self.leave, self.kill_one,
                self.boot, self.pause_or_go_on, self.cut_or_heal, self.lose_a_machine, self.give, self.step_clock,
                self.sleep_through_the_lease, self.cut_through_the_lease, self.cut_the_power,
            ),
            (8, 3, 6, 1, 5, 1, 1.5, 1.5, 2, 1, 0.6, 0.5, 0.3, 2, 1, 1),
        )[0]  # fmt: skip
        await deed()
        for server in [one for one in self.servers if one.failed]:
            await self.kill(server)

    async def arrive(self) -> None:
        for server in self.ready():
            for _ in range(self.rng.randint(0, 3)):
                client = Client(len(self.clients), self.rng.choice(TENANTS), server)
                if self.rng.random() < 0.4:
                    client.key = f"{client.tenant}-{self.rng.randint(1, 3)}"
                self.clients.append(client)
                task = server.streams[client.number] = server.spawn(server.serve(client))
                task.add_done_callback(lambda _, server=server, number=client.number: server.streams.pop(number))  # type: ignore[misc]
        await self.a_while()

    async def a_while(self) -> None:
        await self.spin(self.rng.choice((3, 10, 40)))

    async def pass_time(self) -> None:
        await self.advance(self.rng.choice((0.05, 0.3, 1.0)))

    async def wait_long(self) -> None:
        await self.advance(self.rng.choice((2.5, 6.0, 12.0)))

    async def keep_house(self) -> None:
        for server in self.ready():
            for work in (server.tend, server.flush, server.sweep, server.sync):
                if self.rng.random() < 0.5:
                    server.spawn(work())
        await self.a_while()

    async def leave(self) -> None:
        """A client hangs up: its stream is cancelled wherever it is."""
        streams = [task for server in self.servers if not server.paused for task in server.streams.values()]
        if streams:
            self.rng.choice(streams).cancel()

    async def kill_one(self) -> None:
        if self.servers:
            await self.kill(self.rng.choice(self.servers))

    async def boot(self) -> None:
        if len(self.servers) < 3:
            server = Server(self, self.rng.choice(self.homes))
            self.servers.append(server)
            server.spawn(server.boot())

    async def pause_or_go_on(self) -> None:
        """A server that is not run for a while; sometimes for longer than its lease."""
        for server in self.servers:
            if self.rng.random() < 0.5:
                (server.go_on if server.paused else server.pause)()

    async def cut_or_heal(self) -> None:
        for server in self.servers:
            if self.rng.random() < 0.4:
                server.cut = not server.cut

    async def sleep_through_the_lease(self) -> None:
        """One is paused until others have had the time to take it over, and finds out later."""
        for server in self.ready()[:1]:
            server.pause()
            await self.advance(self.rng.choice((4.7, 6.0, 9.0)))
            server.go_on()
            await self.a_while()

    async def cut_through_the_lease(self) -> None:
        """One goes on without the database for longer than its lease."""
        for server in self.ready()[-1:]:
            server.cut = True
            await self.advance(self.rng.choice((4.7, 6.0, 9.0)))
            server.cut = False
            await self.a_while()

    async def lose_a_machine(self) -> None:
        home = self.rng.choice(self.homes)
        await self._kill_all(home)
        for client in self.clients:
            client.server.disk_lost |= client.server.home == home
        shutil.rmtree(home, ignore_errors=True)
        self.homes[self.homes.index(home)] = self._new_home()

    async def cut_the_power(self) -> None:
        """Of one machine: its servers are gone, and with them what no disk has."""
        home = self.rng.choice(self.homes)
        await self._kill_all(home)
        for client in self.clients:
            client.server.power_cut |= client.server.home == home
        for where, journal in self.journals:
            if where == home:
                journal.cut_power(self.rng)

    async def _kill_all(self, home: Path) -> None:
        for server in [one for one in self.servers if one.home == home]:
            await self.kill(server)

    async def give(self) -> None:
        self._grant(self.rng.choice(TENANTS))

    async def step_clock(self) -> None:
        """The database's clock is put right."""
        self.house.clock.advance(self.rng.choice((-3, -0.5, 0.5, 4, 20)))

    async def kill(self, server: Server) -> None:
        """`kill -9`: no write, no answer and no byte to a client comes after this."""
        server.alive = False
        self.servers.remove(server)
        bury(server.books)
        while doomed := [task for task, owner in self._owners.items() if owner is server and not task.done()]:
            for task in doomed:  # a cancelled one may leave another behind
                task.cancel()
            await asyncio.wait(doomed)

    async def end(self) -> None:
        """All that was broken is mended, clients hang on; at last every server is gone, and one after them tidies up."""
        self.refusals = 0.0
        for server in self.servers:
            server.cut = False
            server.go_on()
        for _ in range(60):
            await self.advance(0.5)
            if not any(server.streams for server in self.servers):
                break
        else:
            raise AssertionError("a stream does not end")
        for server in list(self.servers):
            if self.rng.random() < 0.5 and server.ready:
                await server.books.close()
            await self.kill(server)
        await self.advance(8.0)
        last = [Server(self, home) for home in self.homes]
        for server in last:
            await server.books.open()
        for server in last:
            await server.books.close()
        self.check()

    async def advance(self, seconds: float) -> None:
        """Time goes by; who is well keeps its lease meanwhile."""
        target = self.time.now + round(seconds * NS_PER_S)
        while self.time.now < target:
            step = min(target, self.time.now + NS_PER_S, self.time.next() or target)
            step = max(step, self.time.now + NS_PER_S // 25)
            self.house.clock.advance((step - self.time.now) / NS_PER_S)
            before, self.time.now = self.time.now, step
            self.time.wake()
            if step // NS_PER_S > before // NS_PER_S:
                for server in self.ready():
                    if self.rng.random() < 0.9:
                        server.spawn(server.tend())
                    if self.rng.random() < 0.3:
                        server.spawn(server.sweep())
            await self.spin(3)

    async def spin(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    def ready(self) -> list[Server]:
        return [server for server in self.servers if server.ready and server.alive]

    def check(self) -> None:
        """Every promise, at the end of the story."""
        found = self.house.disagreements()
        assert not found, f"the auditor: {found}"
        assert self.house.tx.rows("SELECT * FROM open_hold") == [], "a hold is left"
        assert self.house.tx.rows("SELECT * FROM lease") == [], "a slice is left"
        assert self.house.tx.rows("SELECT number FROM epoch WHERE ended_at IS NULL") == [], "an epoch has not ended"
        late = dict(self.house.tx.rows("SELECT request_id, recorded FROM waiver"))
        usage = {client.number: metering.by_request(self.house.tx, request(client.number)) for client in self.clients}
        for client in self.clients:
            self._check_client(client, usage[client.number], late.get(request(client.number), 0))
        self._check_keys(usage)
        self._check_sums(usage)

    def _check_client(self, client: Client, usage: Usage | None, late: int) -> None:
        if usage is None:
            assert client.delivered == 0, f"never billed: {client}"
            return
        billed = usage.tokens.input + usage.tokens.output
        assert billed <= client.delivered, f"over-billed: {client} {usage}"
        waived = max(usage.waived, late - billed)
        owed = client.delivered
        if client.server.disk_lost and usage.status is Status.FAILED:
            owed = min(owed, client.flushed)
        elif client.server.power_cut and usage.status is Status.FAILED:
            owed = min(owed, max(client.flushed, client.synced))
        assert owed <= billed + waived, f"lost: {client} {usage}, late {late}"
        assert client.receipt in (None, usage), f"the receipt changed: {client} {usage}"

    def _check_keys(self, usage: dict[int, Usage | None]) -> None:
        keyed: dict[tuple[str, str], list[Client]] = {}
        for client in self.clients:
            row = usage[client.number]
            if client.key is not None and row is not None and row.tokens != NO_TOKENS:
                keyed.setdefault((client.tenant, client.key), []).append(client)
        for (tenant, key), charged in keyed.items():
            assert len(charged) == 1, f"one key, several charges: {charged}"
            kept = idempotency.find(self.house.tx, f"ten_{tenant}", key)
            assert kept is not None, f"the claim of a billed request went away: {charged}"
            assert kept.request_id == request(charged[0].number), f"the key is another request's: {charged}"
            same = kept.state is not State.KEPT or kept.answer == b"%d" % charged[0].got.output
            assert same, f"another answer is kept: {charged} {kept}"
        running = self.house.tx.rows("SELECT key FROM idempotency WHERE state = 'running'")
        assert running == [], "a claim runs for ever"

    def _check_sums(self, usage: dict[int, Usage | None]) -> None:
        for name in TENANTS:
            spent = sum(row.amount for row in usage.values() if row is not None and row.tenant_id == f"ten_{name}")
            assert spent <= self.granted[name] + (CREDIT_LIMIT if name == "bolt" else 0), f"{name} spent {spent}"
        limited = [row for row in usage.values() if row is not None and row.key_id == "key_bolt"]
        if limited:
            first, last = min(row.started_at for row in limited), max(row.started_at for row in limited)
            minutes = 1 + -(-(last - first) // (60 * NS_PER_S))
            assert len(limited) <= RPM * (1 + minutes), "more requests than the key may"

    def _grant(self, name: str) -> None:
        amount = f"{self.rng.randint(0, 6)}.{self.rng.randint(1, 999):03d}"
        expires = self.rng.choice((None, None, 5, 40))
        given = self.house.give(name, amount, funding=self.rng.choice(list(Funding)), expires_in_s=expires)
        self.granted[name] += given.amount

    def _new_home(self) -> Path:
        home = self.folder / f"home{next(self._homes)}"
        home.mkdir(parents=True)
        return home

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **keywords: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **keywords)
        owner = _owner.get()
        if owner is not None:
            self._owners[task] = owner
        return task
