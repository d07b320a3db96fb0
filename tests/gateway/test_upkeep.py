"""The daily upkeep: once a day, and again where it failed."""

import asyncio

import pytest

from millrace.base.clock import FakeClock
from millrace.gateway.upkeep import Report, Upkeep


def test_once_a_day() -> None:
    """The first turn of each UTC day does it, the others do nothing."""
    clock, done = FakeClock(), []

    async def run() -> Report:
        done.append(clock.now())
        return Report(exported=1, dropped=2, kept="usage-000000000000001.parquet: it is not rolled up yet")

    async def turns() -> None:
        upkeep = Upkeep(clock, run)
        for _ in range(48):
            await upkeep.turn()
            clock.advance(3600)

    asyncio.run(turns())
    assert len(done) == 3
    assert done[1] - done[0] < 86_400 * 10**9


def test_a_failed_one_is_tried_again() -> None:
    """What it could not be done for is raised, and the next turn of the same day tries again."""
    tries = []

    async def run() -> Report:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the upkeep of usage did not come to its end")
        return Report(exported=0, dropped=0)

    async def turns() -> None:
        upkeep = Upkeep(FakeClock(), run)
        with pytest.raises(RuntimeError):
            await upkeep.turn()
        await upkeep.turn()
        await upkeep.turn()

    asyncio.run(turns())
    assert len(tries) == 2
