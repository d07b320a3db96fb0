"""Whole gateways on one database under paced streams: what clients got over HTTP, and what the books have of it."""

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from tests.money.house import disagreements
from tests.races.cloud import Cloud, Stream, Upstream
from tests.races.verdict import Tally

from millrace.base.errors import Refusal
from millrace.money.metering.journal import read_record
from millrace.schema import connect
from millrace.store.database import Database

TOKENS: Final = 60
PACE_MS: Final = 10
PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.02

STANDING: Final = """SELECT u.request_id, u.status, u.output, u.input, u.waived, COALESCE(w.recorded, 0), u.amount,
  (SELECT CAST(COALESCE(SUM(t.amount), 0) AS BIGINT) FROM transfer AS t
   WHERE t.kind = 'post' AND t.pending_id >= u.request_id || '/' AND t.pending_id < u.request_id || '0')
FROM usage AS u LEFT JOIN waiver AS w ON w.request_id = u.request_id"""


LIVING: Final = "SELECT number FROM epoch WHERE home LIKE :home AND taken_by IS NULL AND ended_at IS NULL"


class Standing(NamedTuple):
    """One request in the books, and what the posts of its legs come to."""

    request_id: str
    status: str
    output: int
    input: int
    waived: int
    recorded: int
    amount: int
    posted: int

    @property
    def late(self) -> int:
        return max(0, self.recorded - self.input - self.output - self.waived)


NONE_GONE: Final[Mapping[str, int]] = MappingProxyType({})


class Fleet:
    """Gateways with homes of their own on one PostgreSQL database, or one of several workers on SQLite."""

    def __init__(self, clouds: Sequence[Cloud], place: str) -> None:
        self.clouds = list(clouds)
        self.streams: list[Stream] = []
        self.db: Database = connect(place)

    async def load(self, number: int, chance: random.Random, *, tokens: int = TOKENS) -> list[asyncio.Task[None]]:
        """So many more streams over all that run, of which a third leave somewhere. Returns once most have a token."""
        up = [one for one in self.clouds if one.process is not None]
        more = [Stream(up[n % len(up)], tokens) for n in range(number)]
        self.streams += more
        running = [asyncio.create_task(one.run(chance.randint(1, tokens) if chance.random() < 1 / 3 else None)) for one in more]
        await until(lambda: sum(one.tokens > 0 for one in more) > number // 2 or all(task.done() for task in running))
        return running

    async def rest(self, running: list[asyncio.Task[None]]) -> None:
        """Every client is gone, and nobody has anything open."""
        await asyncio.gather(*running)
        await until(lambda: not self.db.read(lambda tx: tx.rows("SELECT 1 FROM open_hold LIMIT 1")))

    def living(self, cloud: Cloud) -> int:
        """Epochs of a home that nobody has taken over."""
        home = (cloud.home / "journal" / "home").read_text()
        return len(self.db.read(lambda tx: tx.rows(LIVING, home=f"{home}%")))

    def examine(self, gone: Mapping[str, int] = NONE_GONE) -> tuple[Tally, list[str]]:
        """What all streams so far came to, and what is wrong. `gone`: those whose home was lost, with what was flushed."""
        known = {one.request_id: one for one in self.streams if one.request_id}
        tally, found = Tally(), self.db.read(disagreements)
        for row in self.db.read(lambda tx: tx.rows(STANDING)):
            one = Standing(*row)
            stream = known.pop(one.request_id, None)
            judge(one, stream, gone.get(one.request_id), tally, found)
        found += [f"{one.request_id} has {one.tokens} tokens and no usage" for one in known.values() if one.tokens]
        return tally, found

    def flushed(self) -> dict[str, int]:
        """How far each running request has come, as the database knows it."""
        rows = self.db.read(lambda tx: tx.rows("SELECT request_id, watermark FROM open_hold"))
        marks = {id_: read_record(bytes(mark))[1].recorded for id_, mark in rows if mark is not None}
        return {id_: mark.input + mark.output for id_, mark in marks.items()} | {id_: 0 for id_, mark in rows if mark is None}


def judge(one: Standing, stream: Stream | None, flushed: int | None, tally: Tally, found: list[str]) -> None:
    """Hold a row against what its client got; tokens of output, since it does not know how many its prompt had."""
    got = 0 if stream is None else stream.tokens
    told = f"{one}: got {got}"
    tally.requests += 1
    tally.recovered += one.status == "failed"
    tally.delivered += got
    tally.billed += one.output
    tally.waived += one.waived
    tally.late += one.late
    if one.output > got:
        tally.over += 1
        found.append(f"over-billed: {told}")
    if one.posted != one.amount:
        tally.double += 1
        found.append(f"its posts come to another amount: {told}")
    if stream is not None and stream.finished and one.output != got:
        tally.lost += 1
        found.append(f"it ended well, and was billed otherwise: {told}")
    if flushed is None and got > one.output + one.waived + one.late:
        tally.lost += 1
        found.append(f"neither billed nor waived: {told}")
    if flushed is not None and one.output + one.input + one.waived + one.late < flushed:
        tally.lost += 1
        found.append(f"{flushed} were flushed: {told}")


@contextmanager
def fleet(clouds: Sequence[Cloud], place: str, *arguments: str) -> Iterator[Fleet]:
    """Started at the same moment with further arguments of `up`, with something to spend; gone at the end."""
    try:
        with ThreadPoolExecutor(len(clouds)) as pool:
            list(pool.map(lambda one: one.start(*arguments), clouds))
        key = next(one.key for one in clouds if one.key)
        for one in clouds:
            one.key = key
        clouds[0].command("grant", "create", "--tenant", "demo", "--amount", "1000.00")
        made = Fleet(clouds, place)
        yield made
        made.db.close()
    finally:
        for one in clouds:
            if one.process is not None:
                one.process.send_signal(signal.SIGCONT)
                one.kill()


def on_postgresql(folder: Path, upstream: Upstream, place: str) -> list[Cloud]:
    """Two gateways with homes of their own on one database."""
    both = [Cloud(folder / name, upstream) for name in ("one", "two")]
    for one in both:
        with (one.home / "millrace.toml").open("a") as settings:
            settings.write(f'\n[store]\nurl = "{place}"\n')
    return both


async def until(true: Callable[[], object]) -> None:
    """A condition, not a time: what comes about is waited for. A database that is away now says nothing."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(Refusal):
                if true():
                    return
            await asyncio.sleep(LOOK_S)
