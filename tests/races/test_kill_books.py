"""Real processes, really killed: what their clients read from them is compared with what the books say afterwards."""

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest
from tests import postgres
from tests.races.arena import Arena, Plan
from tests.races.books_victim import Fault
from tests.races.nursery import Nursery

KILLS: Final = 100
KILLS_FAR: Final = 50
KILLS_OF_THE_FAULTY: Final = 20


def killed(arena: Arena) -> int:
    """Processes that were killed so far, at birth or later."""
    return arena.counts["killed"] + arena.counts["killed at birth"]


def fight(plan: Plan, folder: Path, nursery: Nursery, kills: int, server: postgres.Server | None = None) -> Arena:
    """An arena after so many kills, judged."""
    seed = random.randrange(2**32)
    place = str(folder / "millrace.db") if server is None else server.url(server.new_database(server.migrated))

    async def run() -> Arena:
        arena = Arena(plan, folder, place, seed, nursery, server)
        await arena.run(lambda it: killed(it) >= kills)
        return arena

    arena = asyncio.run(run())
    print(f"seed {seed}: {dict(arena.counts)}\n{arena.tally}")
    return arena


def test_one_server_on_sqlite(in_memory: Path, nursery: Nursery) -> None:
    """For every request: billed ≤ delivered ≤ billed + waived. None is billed twice, nobody overspends, the audit is ok."""
    arena = fight(Plan("one"), in_memory, nursery, KILLS)
    assert arena.findings == []
    assert arena.tally.recovered > KILLS, "the kills hit nobody: the test proves nothing"
    assert arena.tally.late == 0


def test_three_servers_of_one_home(in_memory: Path, nursery: Nursery) -> None:
    """The same where others take the dead and the sleeping over at once, and those who sleep wake to find out."""
    arena = fight(Plan("three", gateways=3, lease_s=0.5, pace_s=0.05), in_memory, nursery, KILLS)
    assert arena.findings == []
    assert arena.tally.recovered > KILLS
    assert arena.counts["paused"] > 0


def test_two_homes_on_postgresql(in_memory: Path, nursery: Nursery, crashing: postgres.Server) -> None:
    """The same where one home's journal is out of the other's reach, connections are lost and the database crashes.

    What a lost machine had not brought to the database is billed to nobody; what it had is billed or waived.
    """
    plan = Plan("far", gateways=4, homes=2, lease_s=1.0, pace_s=0.05, disaster_s=1)
    arena = fight(plan, in_memory, nursery, KILLS_FAR, crashing)
    assert arena.findings == []
    assert arena.tally.recovered > KILLS_FAR


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.RELEASES_FIRST, "neither billed nor waived"),
        (Fault.BILLS_WHAT_IT_MADE, "over-billed"),
        (Fault.WRITES_BACK, "audit: "),
    ],
)
def test_a_fault_is_found(in_memory: Path, nursery: Nursery, fault: Fault, said: str) -> None:
    """Who releases before he writes down, bills what nobody got, or writes a balance back that he has read does not pass."""
    arena = fight(Plan("faulty", fault=fault), in_memory, nursery, KILLS_OF_THE_FAULTY)
    assert any(said in finding for finding in arena.findings)


def test_one_that_is_never_fenced_is_found(in_memory: Path, nursery: Nursery) -> None:
    """A server that goes on after it was taken over does not pass."""
    plan = Plan("never fenced", gateways=2, lease_s=0.2, life_s=0.5, pace_s=0.05, fault=Fault.NEVER_FENCED)
    arena = fight(plan, in_memory, nursery, KILLS_OF_THE_FAULTY // 2)
    assert any("released after somebody else had settled" in finding for finding in arena.findings)
