"""The composition root: constructs everything that a server or a command is made of; nothing else in the house does."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
from msgspec.structs import replace

from millrace.base.clock import NS_PER_S, Clock, SystemClock
from millrace.base.ids import Ids
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.published.depot import Depot
from millrace.catalog.tuned.values import TunedModel
from millrace.console.pages import pages
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.process import Process
from millrace.engines.protocol import Engine, EngineState
from millrace.gateway import upkeep
from millrace.gateway.admission import Admission
from millrace.gateway.app import Gateway, alone
from millrace.gateway.files import Files
from millrace.gateway.fine_tuning import FineTuning
from millrace.gateway.hub import HubRoutes
from millrace.gateway.inference import Inference
from millrace.gateway.lending import Lending
from millrace.gateway.limiter import Limiter
from millrace.gateway.metrics import Metrics
from millrace.gateway.nightly import Nightly, Place, Report
from millrace.gateway.observer import Observer
from millrace.gateway.offers import Offers
from millrace.gateway.reads import Reads
from millrace.gateway.repetition import Repetition
from millrace.gateway.routes import Tuning
from millrace.gateway.server import SIGNALS, serve
from millrace.gateway.tracing import open_tracer
from millrace.making import tuning
from millrace.making.engines import embedded_settings, make_engine, tuned_settings
from millrace.making.tuned import Tuned
from millrace.money.billing.books import Books
from millrace.money.rating.book import NewPrice, parse_price
from millrace.money.rating.store import PriceBook, all_prices, import_price, price_at
from millrace.money.retention import parquet
from millrace.money.rollups.roller import Roller
from millrace.settings.home import Home
from millrace.settings.parse import BUNDLED_PRICES, Settings
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants.authenticate import Directory
from millrace.workers.crew import Crew
from millrace.workers.member import Member
from millrace.workers.messages import Task
from millrace.workers.share import share_limits
from millrace.workers.worker import Worker, WorkerProcess, tally_file

_log = logging.getLogger("millrace")

SYNC_EVERY_S: Final = 0.1
"""How much of the progress journal a power cut can take; a kill takes nothing."""

AUDIT_DUE_EVERY_S: Final = 60.0
"""How soon after its time of day the audit begins."""

SWEEP_EVERY_S: Final = 2.0
"""How soon a hold that nobody waits for any more, or an expired grant, is dealt with."""

TEND_EVERY_S: Final = 0.25
"""How soon a slice of credit that another server asks for is given back; a twentieth of the lease on an epoch."""

FLUSH_EVERY_S: Final = 0.1
"""What a lost machine takes with it: what its streams released within this time is waived."""

READY_WAIT_S: Final = 30.0
"""How long a start waits for its engines before it says that some are still loading."""

MEMBER_WAIT_S: Final = 2.0
"""How long a worker waits for its engines before it takes connections, so that none is refused for nothing but its start."""

ENDING_S: Final = 15.0
"""What a worker may take to end after its drain: clients that read to the end, settlements, the books; then it is killed."""

AUDIT_MODULE: Final = "millrace.cli.auditing"

ADAPTERS_EVERY_S: Final = 600.0
"""How soon the file of a removed model goes, once it is an hour old."""

ROLL_EVERY_S: Final = 5.0
"""How far behind roll-ups are: what is not in them yet is read row by row, and some thousand rows take milliseconds."""

HUB_SWEEP_EVERY_S: Final = 3600.0
"""What nobody finished to push goes after a week, and what a kill left unnamed at the next of these."""

TUNE_EVERY_S: Final = 1.0
"""How soon a job to tune is noticed."""

KEEP_MODULE: Final = "millrace.cli.keeping"

KEEP_DUE_EVERY_S: Final = 600.0
"""How soon after midnight UTC usage is exported and deleted, where the settings want that; a failed one is tried as soon."""

_BUNDLED_PRICES: Final = tuple(parse_price(price, where="the bundled model's prices") for price in BUNDLED_PRICES)
_UNDECIDED: Final = frozenset({EngineState.DECLARED, EngineState.LOADING})


def import_prices(tx: Tx, prices: tuple[NewPrice, ...], now: int) -> list[str]:
    """Bring the settings' prices into the book; returns a sentence for each thing the operator should know.

    A price that the book never had is new and holds from now on. One that it had before and that was replaced since, by
    `millrace price import`, stays replaced: a restart does not turn prices back.
    """
    notes = []
    for price in prices:
        known = [version for version in all_prices(tx) if (version.model, version.currency) == (price.model, price.currency)]
        had_before = any((version.tiers, version.batch_ppm) == (price.tiers, price.batch_ppm) for version in known)
        in_force = price_at(tx, price.model, price.currency, now)
        if had_before and in_force is not None and in_force.tiers != price.tiers:
            notes.append(f"{in_force.id} is in force; millrace.toml still says an older price of {price.model}")
        if had_before or (known and price in _BUNDLED_PRICES):
            continue
        version, _ = import_price(tx, price, now)
        if version.version > 1:
            notes.append(f"the price of {price.model} changed in millrace.toml and is now {version.id}")
    return notes


def crew(home: Home, settings: Settings, listener: socket.socket) -> Crew:
    """The parent of `settings.server.workers` workers, with the engines that it runs for all of them."""
    clock = SystemClock()
    embedded = [model for model in settings.models if model.engine == "embedded"]

    catalogue = Catalogue(settings.models)

    def tuned(model: TunedModel) -> EmbeddedEngine:
        return EmbeddedEngine(tuned_settings(model, catalogue.find(model.base), home.path), clock)

    tally = tally_file(settings.server.workers)

    async def launch(number: int) -> Worker:
        task = Task(number=number, workers=settings.server.workers, home=home.path, settings=settings)
        return await WorkerProcess.spawn(task, listener, tally)

    return Crew(
        settings.server.workers, launch,
        {model.name: EmbeddedEngine(embedded_settings(model, home.path), clock) for model in embedded},
        clock, patience_s=settings.limits.drain_s + ENDING_S, tuned=Lending(tuned, settings.limits, clock),
    )  # fmt: skip


class Cloud:
    """One server: its rooms, made and not started. `serving` runs it."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        db: Database,
        environment: Mapping[str, str] = os.environ,
        member: Member | None = None,
    ) -> None:
        if member is not None:
            limits = share_limits(settings.limits, member.task.workers, member.task.number)
            settings = replace(settings, limits=limits)
        self.member = member
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.ids = Ids(self.clock)
        self.db = db
        self.metrics = Metrics()
        db.watch(self.metrics.committed)
        upstreams = {model.name: model.url for model in settings.models if model.url is not None}
        self.tracer = open_tracer(settings.telemetry, self.clock, upstreams)
        self.observer = Observer(self.clock, self.metrics, settings.logs, self.tracer)
        far = settings.store.far
        shared = far or member is not None
        self.books = Books(db, home.path / "journal", self.clock, shared=shared, far=far)
        self.catalogue = Catalogue(settings.models)
        self.engines: dict[str, Engine] = {
            model.name: make_engine(model, self.clock, home.path, environment, member) for model in settings.models
        }
        self.prices = PriceBook(db, self.clock)
        self.tuned = Tuned(db, self.catalogue, home.path, settings.limits, self.clock, member)
        offers = Offers(db, self.catalogue, self.engines, self.tuned, self.clock)
        admission = Admission(offers, self.prices)
        limiter = Limiter(settings.limits, self.clock, shared=shared)
        repetition = Repetition(db, self.books, limiter, settings.limits, self.clock)
        self.inference = Inference(admission, self.books, limiter, repetition, settings.limits, self.clock, self.metrics)
        self.nightly = None
        if settings.audit.at_s is not None:
            place = Place.of(settings.store.place(home.path))
            self.nightly = Nightly(db, self.clock, self.metrics, settings.audit.at_s, lambda: audit_apart(place))
        self.roller = Roller(db)
        self.upkeep = self._upkeep(home)
        reads = Reads(db, offers, self.prices, self.clock, self.inference.running)
        directory = Directory(db, self.clock)
        self.depot: Depot | None = None
        if settings.hub.enabled:
            self.depot = Depot(db, settings.hub.place(home.path), self.ids, self.clock, settings.hub.quota_bytes)
        office = tuning.office(db, home.path, settings, self.catalogue, self.clock)
        files = Files(db, office.shelf, settings.limits, self.clock, self.ids)
        self.keeper = tuning.Keeper(db, tuning.place_of(home.path, settings), self.clock)
        self.gateway = Gateway(
            directory=directory, inference=self.inference, reads=reads, engines=self.engines,
            metrics=self.metrics, observer=self.observer, ids=self.ids,
            pages=pages(self.catalogue, self.engines, db, self.clock),
            whole=alone if member is None else member.whole, hub=self._hub(directory),
            tuning=Tuning(files, FineTuning(db, office, settings.limits)),
        )  # fmt: skip

    def _upkeep(self, home: Home) -> upkeep.Upkeep | None:
        """What exports and deletes usage, where the settings want that."""
        retention = self.settings.retention
        if retention.usage_days is None or not self.is_first:
            return None
        parquet.check()
        task = upkeep.Task(
            Place.of(self.settings.store.place(home.path)), str(retention.place(home.path)), retention.usage_days
        )
        return upkeep.Upkeep(self.clock, lambda: keep_apart(task))

    def _hub(self, directory: Directory) -> HubRoutes | None:
        """What answers below /hub, where that is enabled."""
        if self.depot is None:
            return None
        return HubRoutes(self.depot, directory, self.settings.limits, self.clock, self.settings.hub.transfers_max)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Books open, engines started, background work going; all of it ended in the reverse order."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self.tracer.close)
            await self.books.open()
            stack.push_async_callback(self.books.close)
            stack.push_async_callback(self._flush_made)
            for engine in self.engines.values():
                stack.push_async_callback(engine.close)
                await engine.start()
            stack.push_async_callback(self.tuned.close)
            stack.push_async_callback(self.keeper.close)
            for name, every_s, work in self._background():
                task = asyncio.create_task(self._repeat(name, every_s, work))
                stack.push_async_callback(_end, task)
            yield

    async def serve(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve on the socket until told to stop; `ready` is called once the engines are, or after a while without them."""
        async with self.running():
            if self.member is not None:  # its siblings serve meanwhile, and what waits in the socket is nobody's yet
                await self._decided(MEMBER_WAIT_S)
            announcing = asyncio.create_task(self._announce(ready))
            try:
                tally = None if self.member is None else self.member.tally
                await serve(self.gateway, listener, self.inference, self.settings.limits, self.observer, tally)
            finally:
                _ignore_signals()
                await _end(announcing)

    @property
    def is_first(self) -> bool:
        """Whether this is the one worker of its home that does what one of them is enough for."""
        return self.member is None or self.member.task.number == 0

    async def _announce(self, ready: Callable[[], None]) -> None:
        await self._decided(READY_WAIT_S)
        ready()

    async def _decided(self, seconds: float) -> None:
        """Until every engine is ready or has failed, or for so long."""
        until = self.clock.monotonic() + round(seconds * NS_PER_S)
        while self.clock.monotonic() < until and any(engine.state in _UNDECIDED for engine in self.engines.values()):
            await self.clock.sleep(0.05)

    async def _repeat(self, name: str, every_s: float, work: Callable[[], Awaitable[object]]) -> None:
        """Background work goes on whatever happens to it, and what happens is seen: in the log and in the metrics."""
        while True:
            await self.clock.sleep(every_s)
            try:
                await work()
                self.metrics.worked(name, self.clock.now())
            except Exception:  # noqa: BLE001 - the outermost loop of background work
                _log.exception("background work failed and goes on: %s", name)
                self.metrics.broke()

    def _background(self) -> list[tuple[str, float, Callable[[], Awaitable[object]]]]:
        """What goes on beside the requests: its name, how often, and what."""
        always: list[tuple[str, float, Callable[[], Awaitable[object]]]] = [
            ("journal sync", SYNC_EVERY_S, self._sync),
            ("sweeper", SWEEP_EVERY_S, self._sweep),
            ("engine counts", SWEEP_EVERY_S, self._flush_made),
            ("tuned models", SWEEP_EVERY_S, self.tuned.tend),
        ]
        if self.is_first:
            always.append(("roll-up", ROLL_EVERY_S, self._roll))
            always.append(("tuning", TUNE_EVERY_S, self.keeper.turn))
            always.append(("adapters", ADAPTERS_EVERY_S, self.tuned.sweep))
        if self.depot is not None and self.is_first:
            always.append(("hub sweep", HUB_SWEEP_EVERY_S, self._sweep_hub))
        if self.upkeep is not None:
            always.append(("retention", KEEP_DUE_EVERY_S, self.upkeep.turn))
        if self.nightly is not None:
            always.append(("audit", AUDIT_DUE_EVERY_S, self.nightly.turn))
        if self.books.shared:
            always.append(("heartbeat", TEND_EVERY_S, self.books.tend))
        if self.settings.store.far:
            always.append(("progress flush", FLUSH_EVERY_S, self.books.flush))
        return always

    async def _sync(self) -> None:
        await asyncio.to_thread(self.books.sync_journal)

    async def _roll(self) -> None:
        await asyncio.to_thread(self.roller.roll)

    async def _flush_made(self) -> None:
        await self.inference.made.flush(self.db, self.books.epoch)

    async def _sweep_hub(self) -> None:
        assert self.depot is not None
        await asyncio.to_thread(self.depot.sweep)

    async def _sweep(self) -> None:
        await self.books.sweep()


async def audit_apart(place: Place) -> Report:
    """Audit what came since the last mark in a process of its own; raises RuntimeError when it does not come to its end."""
    process = await Process.spawn([sys.executable, "-m", AUDIT_MODULE], msgspec.json.encode(place) + b"\n")
    try:
        said = await process.line()
        if not said:
            raise RuntimeError(f"the audit did not come to its end: {await process.gone()}")
        return msgspec.json.decode(said, type=Report)
    finally:
        await process.stop()


async def keep_apart(task: upkeep.Task) -> upkeep.Report:
    """Export usage and delete what is old enough, in a process of its own; raises RuntimeError when that does not end well."""
    process = await Process.spawn([sys.executable, "-m", KEEP_MODULE], msgspec.json.encode(task) + b"\n")
    try:
        said = await process.line()
        if not said:
            raise RuntimeError(f"the upkeep of usage did not come to its end: {await process.gone()}")
        return msgspec.json.decode(said, type=upkeep.Report)
    finally:
        await process.stop()


def _ignore_signals() -> None:
    """While the rooms close: nothing runs any more that a further signal could hasten, and half a close would be worse."""
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, _log.debug, "already stopping")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
