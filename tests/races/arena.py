"""One database, the gateways on it, and what is done to them: kills, pauses, crashes of the database, the loss of a machine.

Nothing here depends on when something happens: whatever is hit at whatever moment, the books must be right afterwards.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from tests import postgres
from tests.money.house import CREDIT_LIMIT, move_in
from tests.races.books_victim import KEY_BUDGET, Berth, Fault, books_at, live
from tests.races.nursery import Nursery
from tests.races.verdict import Knowledge, Tally, examine, overdrawn

from millrace.base.errors import Refusal
from millrace.base.money import NANO
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.metering.journal import RECORD_BYTES, segments
from millrace.schema import open_database
from millrace.store.database import Database
from millrace.store.transaction import Tx

SMALL_GRANTS: Final = 40
ALLOWANCE: Final = 2 * NANO
"""What mole gets every now and then: some thirty holds."""

BIRTH_S: Final = 60.0
REST_S: Final = 60.0
"""How long the dead may take to be settled, at the very most."""

BUDGETS: Final = {f"key_{name}_small": KEY_BUDGET for name in ("acme", "bolt", "mole")}


class Plan(NamedTuple):
    """What kind of arena: how many gateways in how many homes, whether they share the database, what is done to it."""

    name: str
    gateways: int = 1
    homes: int = 1
    lease_s: float = 5.0
    life_s: float = 0.15
    fault: Fault = Fault.NONE
    streams: int = 30
    pace_s: float = 0.001
    disaster_s: float = 0
    """How often, on average, something happens to all of them; 0: never."""

    @property
    def shared(self) -> bool:
        return self.gateways > 1

    @property
    def far(self) -> bool:
        return self.homes > 1


class Process:
    """A victim and the clients who read from it."""

    def __init__(self, nursery: Nursery, berth: Berth) -> None:
        self.home = berth.home
        self.knows = Knowledge()
        self.killed = False
        self._over = asyncio.Event()
        self._pid, self._pipe = nursery.born(live, berth, berth.home / "victim.log")
        os.set_blocking(self._pipe, False)
        asyncio.get_running_loop().add_reader(self._pipe, self._read)

    @property
    def ended(self) -> bool:
        return self._over.is_set()

    def signal(self, number: signal.Signals) -> None:
        if number is signal.SIGKILL:
            self.killed = True
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    async def gone(self) -> Knowledge:
        """All that its clients know, once it is dead: nobody else has the other end of the pipe."""
        await self._over.wait()
        return self.knows

    def _read(self) -> None:
        data = os.read(self._pipe, 1 << 20)
        self.knows.take(data)
        if not data:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._over.set()


class Arena:
    """Live a while (`run`), then be judged. `counts` are what was done, by kind; `findings` what was wrong."""

    def __init__(
        self, plan: Plan, folder: Path, place: str, seed: int, nursery: Nursery, server: postgres.Server | None = None
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self.tally = Tally()
        self._place = place
        self._nursery = nursery
        self._server = server
        self._chance = random.Random(seed)
        self._db: Database = open_database(place)
        self._dead: list[Knowledge] = []
        self._lost_homes: list[tuple[Path, list[Knowledge]]] = []
        self._by_home: dict[Path, list[Knowledge]] = {}
        self._given: dict[str, tuple[str, int]] = {"": ("ten_bolt", CREDIT_LIMIT)}
        self._homes = [self._new_home(number) for number in range(plan.homes)]
        self._slots: list[Process | None] = [None] * plan.gateways
        self._db.write_now(self._fund)

    async def run(self, until: Callable[["Arena"], bool]) -> None:
        """Kill and pause until it is time, look all the while whether anybody spends too much; then settle and be judged."""
        slots = asyncio.gather(*(self._slot(number, until) for number in range(self.plan.gateways)))
        beside = [asyncio.create_task(self._look(slots)), asyncio.create_task(self._strike(slots))]
        try:
            await slots
        finally:
            self._kill_all()
        await asyncio.gather(*beside, *(one.gone() for one in self._slots if one is not None))
        await self._rest()
        gone = {id_: knows.flushed.get(id_, 0) for _, some in self._lost_homes for knows in some for id_ in knows.held}
        self.tally, findings = await asyncio.to_thread(partial(examine, self._db, self._dead, gone, near=not self.plan.far))
        self.tally.overshoot = self.counts.pop("overshoot", 0)
        self.findings += findings
        self._db.close()

    async def lose_machine(self) -> None:
        """Everything in one home dies at once and its disk with it; another machine takes its place."""
        number = self._chance.randrange(self.plan.homes)
        home = self._homes[number]
        self._homes[number] = self._new_home(len(self._by_home))
        there = [one for one in self._slots if one is not None and one.home == home]
        for one in there:
            one.signal(signal.SIGKILL)
        await asyncio.gather(*(one.gone() for one in there))
        shutil.rmtree(home / "journal", ignore_errors=True)
        self._lost_homes.append((home, self._by_home[home]))
        self.counts["machine lost"] += 1

    async def _slot(self, number: int, until: Callable[["Arena"], bool]) -> None:
        """One gateway after the other, each ended somehow."""
        while not until(self):
            process = self._born(number)
            await self._serve(process)
            knows = await process.gone()
            if knows.not_now:
                self.counts["not born"] += 1
            elif not process.killed:
                self.findings.append(f"a victim ended by itself; see {process.home / 'victim.log'}")
                return
            self.counts["fenced"] += knows.fenced
            self._tear(process.home, knows.epoch)
            if self.plan.shared and self._happens(0.2):
                await asyncio.sleep(self._chance.uniform(0, self.plan.lease_s))

    def _born(self, number: int) -> Process:
        home = self._homes[number % self.plan.homes]
        berth = Berth(
            self._place, home, self._chance.randrange(2**32), self.plan.shared, self.plan.far, self.plan.lease_s,
            self.plan.streams, self.plan.pace_s, self.plan.fault,
        )  # fmt: skip
        process = self._slots[number] = Process(self._nursery, berth)
        self._dead.append(process.knows)
        self._by_home[home].append(process.knows)
        return process

    async def _serve(self, process: Process) -> None:
        """One in ten dies while it opens the books; of the others some are paused first, and some of these on waking."""
        if self._happens(0.1):
            await asyncio.sleep(self._chance.uniform(0, 0.05))
            self._kill(process, "killed at birth")
            return
        born = time.monotonic()
        while not process.knows.epoch and not process.ended:
            await asyncio.sleep(0.002)
            if time.monotonic() - born > BIRTH_S:
                self.findings.append(f"a victim could not open its books; see {process.home / 'victim.log'}")
                process.signal(signal.SIGKILL)
                return
        await asyncio.sleep(self._chance.uniform(0, self.plan.life_s))
        while self.plan.shared and self._happens(0.25):
            await self._pause(process)
        self._kill(process, "killed")

    async def _pause(self, process: Process) -> None:
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.5, 3) * self.plan.lease_s)
        process.signal(signal.SIGCONT)
        self.counts["paused"] += 1
        await asyncio.sleep(self._chance.choice((0, 0.01, 2 * self.plan.life_s)))

    def _kill(self, process: Process, how: str) -> None:
        if not process.ended:
            process.signal(signal.SIGKILL)
            self.counts[how] += 1

    def _tear(self, home: Path, epoch: int) -> None:
        """As if the kill had fallen into a write: the beginning of a record at the end of the dead one's journal."""
        files = segments(home / "journal", epoch)
        if files and self._happens(0.2):
            with contextlib.suppress(FileNotFoundError), files[-1].open("r+b") as file:
                record = file.read()[-RECORD_BYTES:]
                file.write(record[: self._chance.randrange(1, RECORD_BYTES)])
                self.counts["torn"] += 1

    async def _look(self, until: "asyncio.Future[Any]") -> None:
        """A database that is away now is looked at the next time."""
        while not await _over_within(until, 1):
            with contextlib.suppress(Refusal):
                await asyncio.to_thread(self._db.write_now, self._allow)
                over = await asyncio.to_thread(self._db.read, lambda tx: overdrawn(tx, self._limits(), BUDGETS))
                self.counts["looks"] += 1
                self.counts["overshoot"] += len(over)
                self.findings += over

    async def _strike(self, until: "asyncio.Future[Any]") -> None:
        kinds = [self.lose_machine] if self.plan.far else []
        if self._server is not None:
            kinds += [self.crash_database, self.restart_database, self.kill_backend, self.drop_backend]
        longest = 2 * self.plan.disaster_s
        while kinds and longest and not await _over_within(until, self._chance.uniform(0, longest)):
            await self._chance.choice(kinds)()

    async def crash_database(self) -> None:
        """`pg_ctl -m immediate`: no checkpoint, no goodbye; it recovers from its log."""
        await self._restart(signal.SIGQUIT)
        self.counts["database crashed"] += 1

    async def restart_database(self) -> None:
        await self._restart(signal.SIGINT)
        self.counts["database restarted"] += 1

    async def kill_backend(self) -> None:
        """`kill -9` of one of its processes: the server throws all others out and recovers."""
        await self._end_backend(signal.SIGKILL, "backend killed")

    async def drop_backend(self) -> None:
        """One gateway loses its connection, wherever it is."""
        await self._end_backend(signal.SIGTERM, "connection dropped")

    async def _end_backend(self, how: signal.Signals, name: str) -> None:
        assert self._server is not None
        await self._answered()
        pids = await asyncio.to_thread(self._server.ask, "SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace'")
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._chance.choice(pids)[0], how)
                self.counts[name] += 1

    async def _restart(self, how: signal.Signals) -> None:
        assert self._server is not None
        await asyncio.to_thread(self._server.restart, how)

    def _limits(self) -> Counter[str]:
        limits: Counter[str] = Counter()
        for tenant, amount in list(self._given.values()):
            limits[tenant] += amount
        return limits

    async def _answered(self) -> None:
        """The server is back from whatever befell it."""
        until = time.monotonic() + REST_S
        while self._server is not None and not await asyncio.to_thread(_answers, self._server):
            assert time.monotonic() < until, "PostgreSQL does not come back"
            await asyncio.sleep(0.05)

    async def _rest(self) -> None:
        """Let each home be started once more, so that what it alone knows is said; then nothing of the dead is left."""
        await self._answered()
        for home in {*self._homes} - {home for home, _ in self._lost_homes}:
            books = books_at(Berth(self._place, home, 0, self.plan.shared, self.plan.far, self.plan.lease_s), self._db)
            await books.open()
            until = time.monotonic() + REST_S
            while self._db.read(_others_open):
                if time.monotonic() > until:
                    self.findings.append("the dead are not settled")
                    break
                await books.sweep()
                await asyncio.sleep(0.02)
            await books.close()
        for home in {*self._homes} - {home for home, _ in self._lost_homes}:
            books = books_at(Berth(self._place, home, 0, self.plan.shared, self.plan.far, self.plan.lease_s), self._db)
            await books.open()
            await books.close()

    def _kill_all(self) -> None:
        for one in self._slots:
            if one is not None and not one.ended:
                one.signal(signal.SIGKILL)

    def _new_home(self, number: int) -> Path:
        home = self.folder / f"home{number}"
        (home / "journal").mkdir(parents=True)
        self._by_home[home] = []
        return home

    def _fund(self, tx: Tx) -> None:
        """Many small grants, so that holds have several legs, and enough after them."""
        move_in(tx)
        tx.run("UPDATE api_key SET budget = :budget WHERE budget IS NOT NULL", budget=KEY_BUDGET)
        for number in range(SMALL_GRANTS):
            self._give(tx, f"gr_small_{number}", "ten_acme", NANO)
        self._give(tx, "gr_acme", "ten_acme", 100_000 * NANO, Funding.CUSTOMER)
        self._give(tx, "gr_bolt", "ten_bolt", 100_000 * NANO, Funding.CUSTOMER)

    def _allow(self, tx: Tx) -> None:
        self._give(tx, f"gr_mole_{self.counts['looks']}", "ten_mole", ALLOWANCE)

    def _give(self, tx: Tx, id_: str, tenant: str, amount: int, funding: Funding = Funding.OPERATOR) -> None:
        self._given[id_] = tenant, amount
        grants.give(
            tx,
            grants.new_grant(id=id_, tenant_id=tenant, amount=amount, currency="CNY", funding=funding, now=time.time_ns()),
        )

    def _happens(self, chance: float) -> bool:
        return self._chance.random() < chance


async def _over_within(future: "asyncio.Future[Any]", seconds: float) -> bool:
    await asyncio.wait([future], timeout=seconds)
    return future.done()


def _answers(server: postgres.Server) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        server.ask("SELECT 1")
        return True
    return False


def _others_open(tx: Tx) -> bool:
    return len(tx.rows("SELECT number FROM epoch WHERE ended_at IS NULL")) > 1
