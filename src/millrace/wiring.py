"""The composition root: constructs everything that a server or a command is made of; nothing else in the house does."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from millrace.base.clock import NS_PER_S, Clock, SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.console.pages import pages
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.fake import FakeEngine, FakeSettings
from millrace.engines.protocol import Engine, EngineState
from millrace.engines.remote import RemoteEngine, RemoteSettings
from millrace.gateway.admission import Admission
from millrace.gateway.app import Gateway
from millrace.gateway.inference import Inference
from millrace.gateway.limiter import Limiter
from millrace.gateway.metrics import Metrics
from millrace.gateway.reads import Reads
from millrace.gateway.server import SIGNALS, serve
from millrace.money.billing.books import Books
from millrace.money.rating.book import NewPrice, parse_price
from millrace.money.rating.store import PriceBook, all_prices, import_price, price_at
from millrace.settings.home import Home
from millrace.settings.parse import BUNDLED_PRICE, Settings
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants.authenticate import Directory

_log = logging.getLogger("millrace")

SYNC_EVERY_S: Final = 0.1
"""How much of the progress journal a power cut can take; a kill takes nothing."""

SWEEP_EVERY_S: Final = 2.0
"""How soon a hold that nobody waits for any more, or an expired grant, is dealt with."""

READY_WAIT_S: Final = 30.0
"""How long a start waits for its engines before it says that some are still loading."""

_BUNDLED_PRICE: Final = parse_price(BUNDLED_PRICE, where="the bundled model's price")
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
        if had_before or (known and price == _BUNDLED_PRICE):
            continue
        version, _ = import_price(tx, price, now)
        if version.version > 1:
            notes.append(f"the price of {price.model} changed in millrace.toml and is now {version.id}")
    return notes


def make_engine(model: Model, clock: Clock, folder: Path, environment: Mapping[str, str]) -> Engine:
    """The engine of a model; `folder` takes its logs."""
    if model.engine == "fake":
        return FakeEngine(FakeSettings(model=model.name, context_tokens=model.context_tokens), clock)
    if model.engine == "remote":
        assert model.url is not None
        return RemoteEngine(
            RemoteSettings(
                model=model.name, url=model.url, upstream=model.upstream or model.name,
                api_key=_upstream_key(model, environment), embeds=model.embeds, connections_max=model.slots,
            ),
            clock,
        )  # fmt: skip
    assert model.path is not None
    return EmbeddedEngine(
        EmbeddedSettings(
            model=model.name, path=str(model.path), context_tokens=model.context_tokens, slots=model.slots,
            threads=model.threads, log=str(folder / f"engine-{model.name.replace('/', '_')}.log"),
        ),
        clock,
    )  # fmt: skip


class Cloud:
    """One server: its rooms, made and not started. `serving` runs it."""

    def __init__(self, home: Home, settings: Settings, db: Database, environment: Mapping[str, str] = os.environ) -> None:
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.ids = Ids(self.clock)
        self.db = db
        self.metrics = Metrics()
        self.books = Books(db, home.path / "journal", self.clock)
        self.catalogue = Catalogue(settings.models)
        self.engines: dict[str, Engine] = {
            model.name: make_engine(model, self.clock, home.path, environment) for model in settings.models
        }
        self.prices = PriceBook(db, self.clock)
        admission = Admission(self.catalogue, self.engines, self.prices)
        limiter = Limiter(settings.limits, self.clock)
        self.inference = Inference(admission, self.books, limiter, settings.limits, self.clock, self.metrics)
        reads = Reads(db, self.catalogue, self.prices, self.clock, self.inference.running, self.engines)
        self.gateway = Gateway(
            directory=Directory(db, self.clock), inference=self.inference, reads=reads, engines=self.engines,
            metrics=self.metrics, ids=self.ids, pages=pages(self.catalogue, self.engines, db, self.clock),
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Books open, engines started, background work going; all of it ended in the reverse order."""
        async with AsyncExitStack() as stack:
            await self.books.open()
            stack.push_async_callback(self.books.close)
            for engine in self.engines.values():
                stack.push_async_callback(engine.close)
                await engine.start()
            for name, every_s, work in (
                ("journal sync", SYNC_EVERY_S, self._sync),
                ("sweeper", SWEEP_EVERY_S, self._sweep),
            ):
                task = asyncio.create_task(self._repeat(name, every_s, work))
                stack.push_async_callback(_end, task)
            yield

    async def serve(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve on the socket until told to stop; `ready` is called once the engines are, or after a while without them."""
        async with self.running():
            announcing = asyncio.create_task(self._announce(ready))
            try:
                await serve(self.gateway, listener, self.inference, self.settings.limits)
            finally:
                _ignore_signals()
                await _end(announcing)

    async def _announce(self, ready: Callable[[], None]) -> None:
        until = self.clock.monotonic() + round(READY_WAIT_S * NS_PER_S)
        while self.clock.monotonic() < until and any(engine.state in _UNDECIDED for engine in self.engines.values()):
            await self.clock.sleep(0.05)
        ready()

    async def _repeat(self, name: str, every_s: float, work: Callable[[], Awaitable[object]]) -> None:
        """Background work goes on whatever happens to it, and what happens is seen: in the log and in the metrics."""
        while True:
            await self.clock.sleep(every_s)
            try:
                await work()
            except Exception:  # noqa: BLE001 - the outermost loop of background work
                _log.exception("background work failed and goes on: %s", name)
                self.metrics.broke()

    async def _sync(self) -> None:
        await asyncio.to_thread(self.books.sync_journal)

    async def _sweep(self) -> None:
        await self.books.sweep()


def _ignore_signals() -> None:
    """While the rooms close: nothing runs any more that a further signal could hasten, and half a close would be worse."""
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, _log.debug, "already stopping")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _upstream_key(model: Model, environment: Mapping[str, str]) -> str | None:
    if model.api_key_env is None:
        return None
    key = environment.get(model.api_key_env)
    if not key:
        raise Refusal(
            Reason.BAD_SETTING,
            f"model {model.name!r}: the environment variable {model.api_key_env} (api_key_env) is not set; "
            "set it to the key of the upstream server, or take api_key_env out",
        )
    return key
