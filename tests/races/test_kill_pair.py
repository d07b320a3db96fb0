"""Two gateways on one PostgreSQL, and two workers on SQLite: one dies, sleeps or is lost while the other goes on."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import apsw
import pytest
from tests import postgres
from tests.races.cloud import Cloud, Upstream
from tests.races.gateways import NONE_GONE, PACE_MS, Fleet, fleet, on_postgresql, until
from tests.races.test_kill_workers import workers_of

STREAMS: Final = 60
LONG: Final = 300
"""Tokens of a stream: it still runs when its server is hit."""


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(2**32)
    print("seed", seed)
    return random.Random(seed)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("--tokens", str(LONG), "--token-delay-ms", str(PACE_MS)) as made:
        yield made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, crashing: postgres.Server) -> Iterator[Fleet]:
    place = crashing.url(crashing.new_database())
    with fleet(on_postgresql(tmp_path_factory.mktemp("pair"), upstream, place), place) as made:
        yield made


def judged(made: Fleet, gone: Mapping[str, int] = NONE_GONE) -> None:
    """All that clients got is billed or waived, once; the command says that the books are right."""
    tally, findings = made.examine(gone)
    print(tally)
    assert findings == []
    assert tally.recovered > 0, "nobody was hit: the test proves nothing"
    assert made.clouds[-1].command("audit")["ok"]


def test_the_other_takes_over(pair: Fleet, chance: random.Random) -> None:
    """A gateway dies: the other settles what that had, and nobody pays for more than he got or less than can be known."""
    dead = pair.clouds[0]

    async def scene() -> None:
        running = await pair.load(STREAMS, chance, tokens=LONG)
        dead.kill()
        await pair.rest(running)
        dead.start()  # what only its journal knows is noted now

    asyncio.run(scene())
    judged(pair)


def test_a_sleeper_finds_itself_fenced(pair: Fleet, chance: random.Random) -> None:
    """A gateway sleeps past its lease: the other takes over; on waking it bills nothing twice, releases nothing, and serves."""
    sleeper = pair.clouds[0]
    assert sleeper.process is not None
    process = sleeper.process

    async def scene() -> None:
        running = await pair.load(STREAMS, chance, tokens=LONG)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not pair.living(sleeper))
        process.send_signal(signal.SIGCONT)
        await pair.rest(running)
        await until(lambda: pair.living(sleeper))
        await pair.rest(await pair.load(2, chance))

    asyncio.run(scene())
    judged(pair)


def test_the_database_comes_and_goes(pair: Fleet, crashing: postgres.Server, chance: random.Random) -> None:
    """PostgreSQL crashes, is restarted, loses one of its processes: streams go on, and each token is billed or waived once."""

    def kill_a_backend() -> None:
        rows = crashing.ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace'")
        os.kill(rows[0][0], signal.SIGKILL)

    async def scene() -> None:
        for strike in (lambda: crashing.restart(signal.SIGQUIT), crashing.restart, kill_a_backend):
            running = await pair.load(STREAMS, chance, tokens=LONG)
            await asyncio.to_thread(strike)
            await pair.rest(running)

    asyncio.run(scene())
    judged(pair)


def test_a_worker_that_sleeps_finds_itself_fenced(tmp_path: Path, upstream: Upstream, chance: random.Random) -> None:
    """One of two workers sleeps past its lease, with the other beside it on SQLite: the same."""
    server = Cloud(tmp_path / "home", upstream)

    async def scene(workers: Fleet) -> None:
        running = await workers.load(STREAMS, chance, tokens=LONG)
        sleeper = workers_of(server)[0]
        os.kill(sleeper, signal.SIGSTOP)
        while locked(server.home):  # it has the whole file locked: whoever sleeps there keeps everybody waiting
            os.kill(sleeper, signal.SIGCONT)
            await asyncio.sleep(0.01)
            os.kill(sleeper, signal.SIGSTOP)
        await until(lambda: workers.living(server) == 1)
        os.kill(sleeper, signal.SIGCONT)
        await workers.rest(running)

    with fleet([server], str(server.home / "millrace.db"), "--workers", "2") as workers:
        asyncio.run(scene(workers))
        judged(workers)


def locked(home: Path) -> bool:
    """Whether somebody is in the middle of a transaction that does not end."""
    connection = apsw.Connection(str(home / "millrace.db"))
    connection.set_busy_timeout(500)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except apsw.BusyError:
        return True
    finally:
        connection.close()
    return False


def test_a_machine_is_lost(pair: Fleet, chance: random.Random) -> None:
    """The last scene: a gateway dies and its home is gone. What it had brought to the database is billed or waived."""
    lost = pair.clouds[0]

    async def scene() -> dict[str, int]:
        running = await pair.load(STREAMS, chance, tokens=LONG)
        await until(lambda: any(pair.flushed().values()))
        mine = {one.request_id for one in pair.streams if one.cloud is lost}
        flushed = {id_: tokens for id_, tokens in pair.flushed().items() if id_ in mine}
        lost.kill()
        shutil.rmtree(lost.home)
        await pair.rest(running)
        return dict.fromkeys(mine, 0) | flushed

    judged(pair, asyncio.run(scene()))
