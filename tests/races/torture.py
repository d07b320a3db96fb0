"""Kill gateways for as long as you like: `make torture MINUTES=30`, or `python -m tests.races.torture --minutes 30 --seed 7`.

Lanes run beside each other, each with a database of its own that lives for a round: one server on SQLite, four on SQLite, four
in two homes on PostgreSQL. After each round all that clients got is compared with the books, and the books are audited. Exit
code 1 when anything was wrong; what it was done with stays where it is.
"""

import argparse
import asyncio
import atexit
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests import postgres
from tests.races.arena import Arena, Plan
from tests.races.nursery import Nursery
from tests.races.verdict import SHOWN, Tally

ROUND_S: Final = 60.0
PROGRESS_S: Final = 10.0

ONE: Final = Plan("one server, SQLite")
MANY: Final = Plan("four servers, SQLite", gateways=4, lease_s=0.5, pace_s=0.05)
FAR: Final = Plan("four servers in two homes, PostgreSQL", gateways=4, homes=2, lease_s=1.0, pace_s=0.05, disaster_s=6)


class Torture:
    """All lanes. `kills` counts what was done to processes, whatever else was done is in `counts` too."""

    def __init__(self, seed: int, folder: Path, until: Callable[["Torture"], bool]) -> None:
        self.seed = seed
        self.findings: list[str] = []
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
        lanes = asyncio.gather(self._lane(ONE), self._lane(MANY), self._lane(FAR))
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

    async def _round(self, plan: Plan) -> None:
        """One database's life. What is in order is thrown away."""
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
        if arena.findings:
            self._keep(arena, server)
        else:
            shutil.rmtree(folder)
            if server is not None:
                await asyncio.to_thread(server.remove)

    def _keep(self, arena: Arena, server: postgres.Server | None) -> None:
        where = f"{arena.folder}"
        if server is not None:
            server.stop()
            atexit.unregister(server.remove)
            where += f", the database in {server.folder}"
        told = arena.findings[:SHOWN]
        if len(arena.findings) > SHOWN:
            told.append(f"… and {len(arena.findings) - SHOWN} more")
        self.findings += [f"{arena.plan.name}, seed {arena.seed}, kept in {where}:", *(f"  {one}" for one in told)]
        print("\n".join(self.findings[-len(told) - 1 :]), flush=True)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            counts = self.counts
            print(
                f"{self.seconds:6.0f} s  {self.kills:7,} kills  {counts['paused']:6,} pauses  {counts['fenced']:5,} fenced  "
                f"{self.tally.requests:9,} requests judged  {len(self.findings)} findings",
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
