"""Kill gateways for as long as you like: `make torture MINUTES=30`, or `python -m tests.races.torture --minutes 30 --seed 7`.

Lanes run beside each other, each with a database of its own that lives for a round. In three of them processes that are nothing
but books are killed, as fast as they can be born: one on SQLite, four on SQLite, four in two homes on PostgreSQL. In the fourth
whole gateways under paced streams are. After each round all that clients got is compared with the books, and the books are
audited. Exit code 1 when anything was wrong; what it was done with stays where it is.
"""

import argparse
import asyncio
import atexit
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests import postgres
from tests.races.arena import Arena, Plan
from tests.races.cloud import Cloud, Upstream
from tests.races.gateways import PACE_MS, TOKENS, Fleet, fleet, on_postgresql
from tests.races.nursery import Nursery
from tests.races.test_kill_workers import workers_of
from tests.races.verdict import SHOWN, Tally

ROUND_S: Final = 60.0
PROGRESS_S: Final = 10.0
STREAMS: Final = 60
"""Of a whole gateway, at each of its lives."""

ONE: Final = Plan("one server, SQLite")
MANY: Final = Plan("four servers, SQLite", gateways=4, lease_s=0.5, pace_s=0.05)
FAR: Final = Plan("four servers in two homes, PostgreSQL", gateways=4, homes=2, lease_s=1.0, pace_s=0.05, disaster_s=6)


class Torture:
    """All lanes. `kills` counts what was done to processes, whatever else was done is in `counts` too."""

    def __init__(self, seed: int, folder: Path, until: Callable[["Torture"], bool]) -> None:
        self.seed = seed
        self.findings: list[str] = []
        self.wrong = 0
        self.tally = Tally()
        self._folder = folder
        self._done: Counter[str] = Counter()
        self._running: set[Arena] = set()
        self._begun = time.monotonic()
        self._until = until
        self._chance = random.Random(seed)
        self._nursery = Nursery()

    @property
    def counts(self) -> Counter[str]:
        return sum((arena.counts for arena in self._running), self._done.copy())

    @property
    def kills(self) -> int:
        return sum(number for kind, number in self.counts.items() if kind.startswith("killed"))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    async def run(self) -> None:
        lanes = asyncio.gather(*(self._lane(plan) for plan in (ONE, MANY, FAR)), self._lane_of_gateways())
        telling = asyncio.create_task(self._tell())
        try:
            await lanes
        finally:
            telling.cancel()
            self._nursery.close()

    def table(self) -> str:
        lines = [f"{'what':<28}{'how many':>16}"]
        lines += [f"{kind:<28}{number:>16,}" for kind, number in sorted(self.counts.items())]
        lines += [f"{name:<28}{getattr(self.tally, name):>16,}" for name in Tally.__struct_fields__]
        lines += [f"{'kills':<28}{self.kills:>16,}", f"{'seconds':<28}{self.seconds:>16,.0f}"]
        lines += [f"{'kills a minute':<28}{60 * self.kills / self.seconds:>16,.0f}"]
        return "\n".join(lines)

    async def _lane(self, plan: Plan) -> None:
        while not self._until(self):
            await self._round(plan)

    async def _lane_of_gateways(self) -> None:
        for number in itertools.count():
            if self._until(self):
                return
            await self._round_of_gateways(("one gateway", "two workers", "two gateways, PostgreSQL")[number % 3])

    async def _round_of_gateways(self, kind: str) -> None:
        """One home's life, or that of two."""
        folder = Path(tempfile.mkdtemp(prefix="gateways-", dir=self._folder))
        server = await asyncio.to_thread(_started) if kind.endswith("PostgreSQL") else None
        until = time.monotonic() + ROUND_S
        with Upstream("--tokens", str(TOKENS), "--token-delay-ms", str(PACE_MS)) as upstream:
            place = str(folder / "home" / "millrace.db") if server is None else server.url(server.new_database())
            clouds = [Cloud(folder / "home", upstream)] if server is None else on_postgresql(folder, upstream, place)
            opened = fleet(clouds, place, *(["--workers", "2"] if kind == "two workers" else []))
            made = await asyncio.to_thread(opened.__enter__)
            try:
                while time.monotonic() < until and not self._until(self):
                    await self._kill_one(made)
                await made.rest([])
                tally, findings = await asyncio.to_thread(made.examine)
            except TimeoutError:
                tally, findings = Tally(), ["no stream came to its first token, or the gateways never to rest; see server.log"]
            finally:
                await asyncio.to_thread(opened.__exit__, None, None, None)
        self.tally.add(tally)
        self._judge(kind, 0, folder, findings, server)

    async def _kill_one(self, made: Fleet) -> None:
        """A gateway that is started again by us, or a worker that its parent starts again."""
        running = await made.load(STREAMS, self._chance)
        await asyncio.sleep(self._chance.uniform(0, 0.6))
        cloud = self._chance.choice(made.clouds)
        workers = workers_of(cloud)
        if workers:
            os.kill(self._chance.choice(workers), signal.SIGKILL)
        else:
            await asyncio.to_thread(cloud.kill)
        self._done["killed whole gateway"] += 1
        await asyncio.gather(*running)
        if not workers:
            await asyncio.to_thread(cloud.start)

    async def _round(self, plan: Plan) -> None:
        """One database's life."""
        folder = Path(tempfile.mkdtemp(prefix="arena-", dir=self._folder))
        server = await asyncio.to_thread(_started) if plan.far else None
        place = str(folder / "millrace.db") if server is None else server.url(server.new_database(server.migrated))
        arena = Arena(plan, folder, place, self._chance.randrange(2**32), self._nursery, server)
        self._running.add(arena)
        until = time.monotonic() + ROUND_S
        await arena.run(lambda _: time.monotonic() > until or self._until(self))
        self._running.remove(arena)
        self._done += arena.counts
        self.tally.add(arena.tally)
        await asyncio.to_thread(self._judge, plan.name, arena.seed, folder, arena.findings, server)

    def _judge(self, name: str, seed: int, folder: Path, findings: list[str], server: postgres.Server | None) -> None:
        """What is in order is thrown away, what is not is kept."""
        if not findings:
            shutil.rmtree(folder)
            if server is not None:
                server.remove()
            return
        where = f"{folder}"
        if server is not None:
            server.stop()
            atexit.unregister(server.remove)
            where += f", the database in {server.folder}"
        self.wrong += len(findings)
        told = [f"{name}, seed {seed}, kept in {where}:", *(f"  {one}" for one in findings[:SHOWN])]
        if len(findings) > SHOWN:
            told.append(f"  … and {len(findings) - SHOWN} more")
        self.findings += told
        print("\n".join(told), flush=True)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            counts = self.counts
            print(
                f"{self.seconds:6.0f} s  {self.kills:7,} kills  {counts['paused']:6,} pauses  {counts['fenced']:5,} fenced  "
                f"{self.tally.requests:9,} requests judged  {self.wrong} wrong",
                flush=True,
            )


def _started() -> postgres.Server:
    server = postgres.Server(postgres.FAST)
    server.start()
    return server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.races.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kills", type=int, default=sys.maxsize, help="stop after so many, if that is sooner")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm") if Path("/dev/shm").is_dir() else None)  # noqa: S108
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="millrace-torture-", dir=chosen.folder))
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes, in {folder}", flush=True)
    torture = Torture(chosen.seed, folder, lambda it: it.seconds > chosen.minutes * 60 or it.kills >= chosen.kills)
    asyncio.run(torture.run())
    print(torture.table())
    if torture.findings:
        print(f"\nWRONG, seed {chosen.seed}:", *torture.findings, sep="\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
