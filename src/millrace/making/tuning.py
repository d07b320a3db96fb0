"""What tunes, put together: the office that takes jobs, and supervisors with books of their own that do them."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from millrace.base.clock import NS_PER_S, Clock, SystemClock
from millrace.base.ids import Ids
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.conversion.adapter import convert_adapter
from millrace.engines.process import Process
from millrace.money.billing.books import Books
from millrace.settings.parse import Settings
from millrace.settings.tuning import Tuning
from millrace.store.database import Database
from millrace.tuning.jobs import store
from millrace.tuning.office import Office
from millrace.tuning.supervisor import Supervisor
from millrace.tuning.trainer import fake
from millrace.tuning.workshop import Workshop, missing_for

_log = logging.getLogger("millrace.tuning")

MODULE: Final = "millrace.cli.tuning"

TEND_EVERY_S: Final = 0.25
SWEEP_EVERY_S: Final = 2.0
SYNC_EVERY_S: Final = 0.1
FLUSH_EVERY_S: Final = 0.1
"""As a server's: see wiring.py."""

BACKOFF_MAX_S: Final = 60
"""The longest pause before a supervisor that ended too soon is started again."""

HEALTHY_S: Final = 60

CLOSE_S: Final = 10.0
"""What a server that ends gives its supervisor; a trainer whose step takes longer loses those since its last checkpoint."""

Work = Callable[[], Awaitable[object]]


class Place(Struct, frozen=True, kw_only=True):
    """What a supervisor's process is told: the home, the database (which may have a password in it), the models."""

    home: Path
    file: Path | None
    url: str | None
    models: tuple[Model, ...]
    how: Tuning = Tuning()

    @property
    def far(self) -> bool:
        """Whether servers on other machines may have the same database."""
        return self.url is not None

    @property
    def database(self) -> Path | str:
        return self.file if self.file is not None else self.url or ""


def place_of(home: Path, settings: Settings) -> Place:
    at = settings.store.place(home)
    file, url = (at, None) if isinstance(at, Path) else (None, at)
    return Place(home=home, file=file, url=url, models=settings.models, how=settings.tuning)


def render_place(place: Place) -> bytes:
    return msgspec.json.encode(place, enc_hook=str) + b"\n"


def parse_place(line: bytes) -> Place:
    return msgspec.json.decode(line, type=Place, dec_hook=_path)


def workshop(home: Path, clock: Clock, how: Tuning) -> Workshop:
    """Where jobs are done, as the settings say."""
    return Workshop(home, Process.spawn, make_servable, clock, how)


def office(db: Database, home: Path, settings: Settings, catalogue: Catalogue, clock: Clock) -> Office:
    return Office(db, catalogue, workshop(home, clock, settings.tuning), Ids(clock))


def make_servable(adapter: Path, base: Path | None, to: Path) -> None:
    """The file that the base's engine takes; only the fake engine has no base on the disk."""
    if base is None:
        fake.convert(adapter, base, to)
    else:
        convert_adapter(adapter, base, to)


@asynccontextmanager
async def supervising(db: Database, place: Place) -> AsyncIterator[Supervisor]:
    """A supervisor whose books are open, with what must go on beside it.

    It is heir of supervisors only: a server that is alone on its database renews no lease, and is alive all the same.
    """
    clock = SystemClock()
    books = Books(db, place.home / "journal", clock, shared=True, far=place.far, heir_of=store.supervisors)
    async with AsyncExitStack() as stack:
        await books.open()
        stack.push_async_callback(books.close)
        works: list[tuple[str, float, Work]] = [
            ("heartbeat", TEND_EVERY_S, books.tend), ("sweeper", SWEEP_EVERY_S, books.sweep),
            ("journal sync", SYNC_EVERY_S, lambda: asyncio.to_thread(books.sync_journal)),
        ]  # fmt: skip
        if place.far:
            works.append(("progress flush", FLUSH_EVERY_S, books.flush))
        for name, every_s, work in works:
            stack.push_async_callback(_end, asyncio.create_task(_repeat(name, every_s, work, clock)))
        yield Supervisor(db, books, Catalogue(place.models), workshop(place.home, clock, place.how), Ids(clock))


class Keeper:
    """Keeps one supervisor's process beside a server while jobs wait that this machine can do. `turn` it every so often."""

    def __init__(self, db: Database, place: Place, clock: Clock) -> None:
        self._db = db
        self._place = place
        self._clock = clock
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._pause_s = 1
        self._not_before = 0

    async def turn(self) -> None:
        """Start one where it is wanted and there is none."""
        if self._process is None and self._clock.monotonic() >= self._not_before and await self._is_wanted():
            self._process = await Process.spawn([sys.executable, "-m", MODULE], render_place(self._place))
            self._watch = asyncio.create_task(self._until_gone(self._process))

    async def close(self) -> None:
        """End it in good order, its trainer first. Nothing of either is left."""
        process, self._process = self._process, None
        if process is not None:
            await process.stop(CLOSE_S)
        if self._watch is not None:
            await asyncio.wait({self._watch})

    async def _is_wanted(self) -> bool:
        ready = {model.name for model in self._place.models if not missing_for(model, self._place.how)}
        waiting = await self._db.look(store.open_jobs)
        now = self._clock.now()
        return any(job.model in ready and job.not_before <= now for job in waiting)

    async def _until_gone(self, process: Process) -> None:
        """It ends by itself when nothing waits any more; one that ends soon is not started again at once."""
        began = self._clock.monotonic()
        how = await process.gone()
        await process.stop()
        if process is not self._process:
            return
        self._process = None
        lived_s = (self._clock.monotonic() - began) // NS_PER_S
        self._pause_s = 1 if lived_s >= HEALTHY_S or how.endswith("code 0") else min(2 * self._pause_s, BACKOFF_MAX_S)
        self._not_before = self._clock.monotonic() + self._pause_s * NS_PER_S
        if not how.endswith("code 0"):
            _log.error("the supervisor of tuning ended: %s; it is started again in %d s", how, self._pause_s)


async def _repeat(name: str, every_s: float, work: Work, clock: Clock) -> None:
    """Goes on whatever happens to it, and what happens is seen in the log."""
    while True:
        await clock.sleep(every_s)
        try:
            await work()
        except Exception:  # noqa: BLE001 - the outermost loop of background work
            _log.exception("background work failed and goes on: %s", name)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def _path(kind: type, text: Any) -> Path:
    assert kind is Path, kind
    return Path(text)
