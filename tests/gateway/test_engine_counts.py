"""What engines say that they made, beside what the books say that was used."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.money.house import on_disk

from millrace.base.clock import NS_PER_S, FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.gateway.engine_counts import EngineCounts, Tally
from millrace.generation.chunk import TokenCounts
from millrace.store.database import Database

MIDNIGHT = 1_795_392_000 * NS_PER_S


def rows(db: Database) -> list[tuple[Any, ...]]:
    return db.read(lambda tx: tx.rows("SELECT epoch, model, day, requests, input, output FROM engine_count ORDER BY day"))


def seen(counts: EngineCounts, model: str, *said: tuple[int, int]) -> Tally:
    tally = Tally(model)
    counts.begin(tally)
    for input_, output in said:
        tally.see(TokenCounts(input=input_, output=output))
    return tally


def test_tokens_count_on_the_day_on_which_they_came(tmp_path: Path) -> None:
    """A request over midnight is counted once, its tokens on both days; what is flushed again is added."""
    clock = FakeClock(MIDNIGHT - NS_PER_S)
    counts = EngineCounts(clock)
    db = on_disk(tmp_path)
    tally = seen(counts, "tiny", (10, 1), (10, 3))
    asyncio.run(counts.flush(db, 1))
    clock.advance(2)
    tally.see(TokenCounts(input=10, output=7))
    counts.end(tally)
    counts.end(seen(counts, "tiny", (5, 5)))
    for _ in range(2):
        asyncio.run(counts.flush(db, 1))
    assert rows(db) == [(1, "tiny", "2026-11-22", 1, 10, 3), (1, "tiny", "2026-11-23", 1, 5, 9)]
    db.close()


def test_an_estimate_that_is_taken_back_was_made(tmp_path: Path) -> None:
    """A stream may have been broken off at the higher count, and billed for it; an engine that made nothing counts nothing."""
    counts = EngineCounts(FakeClock(MIDNIGHT))
    db = on_disk(tmp_path)
    counts.end(seen(counts, "tiny", (10, 9), (10, 8)))
    counts.end(seen(counts, "free"))
    asyncio.run(counts.flush(db, 3))
    assert rows(db) == [(3, "tiny", "2026-11-23", 1, 10, 9)]
    db.close()


class Refusing(Database):
    """A database that cannot be written to now."""

    def __init__(self) -> None:  # nothing is opened
        pass

    async def write(self, work: Any) -> Any:  # noqa: ARG002
        raise Refusal(Reason.STORE_UNAVAILABLE, "the disk is full")

    def read(self, work: Any) -> Any:  # noqa: ARG002
        raise AssertionError

    async def look(self, work: Any) -> Any:  # noqa: ARG002
        raise AssertionError


def test_a_full_disk_loses_no_count(tmp_path: Path) -> None:
    """What could not be flushed is flushed the next time, with what came since."""
    counts = EngineCounts(FakeClock(MIDNIGHT))
    db = on_disk(tmp_path)
    counts.end(seen(counts, "tiny", (10, 9)))
    with pytest.raises(Refusal, match="full"):
        asyncio.run(counts.flush(Refusing(), 1))
    counts.end(seen(counts, "tiny", (1, 1)))
    asyncio.run(counts.flush(db, 1))
    assert rows(db) == [(1, "tiny", "2026-11-23", 2, 11, 10)]
    db.close()


def test_each_answer_is_counted(play: Any) -> None:
    """Whole, streamed, or left in the middle: the engine's count is never less than what was billed."""

    def leave(answer: Any, connection: Any) -> None:
        if len(answer.parts) > 3:
            connection.lose()

    async def scene(world: Any) -> None:
        await world.chat()
        await world.chat(stream=True)
        await world.chat(stream=True, on_part=leave)
        await world.inference.made.flush(world.db, world.books.epoch)
        ((_, model, _, requests, input_, output),) = rows(world.db)
        used = world.db.read(lambda tx: tx.rows("SELECT COUNT(*), SUM(input), SUM(output) FROM usage"))[0]
        assert (model, requests, input_) == ("echo", used[0], used[1])
        assert output >= used[2]

    play(scene)
