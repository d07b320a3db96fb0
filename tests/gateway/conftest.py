"""A whole gateway in memory: real books on a temporary database, a fake engine, a fake clock, and a client without sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from millrace import schema
from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.catalog.published.depot import Depot
from millrace.catalog.tuned.values import TunedModel
from millrace.engines.fake import FakeEngine, FakeScript, FakeSettings
from millrace.gateway.admission import Admission
from millrace.gateway.app import Gateway
from millrace.gateway.connection import EXTENSION, Connection
from millrace.gateway.exchange import Message, Receive, Scope, Send
from millrace.gateway.files import Files
from millrace.gateway.fine_tuning import FineTuning
from millrace.gateway.hub import HubRoutes
from millrace.gateway.inference import Inference
from millrace.gateway.lending import Lending
from millrace.gateway.limiter import Limiter
from millrace.gateway.metrics import Metrics
from millrace.gateway.observer import Observer
from millrace.gateway.offers import Offers
from millrace.gateway.reads import Reads
from millrace.gateway.repetition import Repetition
from millrace.gateway.rolling import STEP_TOKENS
from millrace.gateway.routes import Tuning
from millrace.gateway.tracing import OtelTracer
from millrace.gateway.trail import NO_TRACER
from millrace.money.billing.books import Books
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Balance, Funding
from millrace.money.rating.book import parse_price
from millrace.money.rating.store import PriceBook, import_price
from millrace.settings.limits import Limits
from millrace.settings.logs import Logs
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.tenants import store as tenants
from millrace.tenants.authenticate import Directory
from millrace.tenants.values import Mode, Tenant
from millrace.tenants.values import Scope as KeyScope
from millrace.tuning.office import Office
from millrace.tuning.trainer import fake as fake_trainer
from millrace.tuning.workshop import Workshop

CREDIT = 10_000_000_000
CONTEXT = 1000
HUB_QUOTA = 5_000_000
"""Bytes."""


class Answer:
    """What the client got."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.ended = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def frames(self) -> list[Any]:
        """The data of each event; '[DONE]' stays text."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    @property
    def pieces(self) -> list[str]:
        """The pieces of text, one a token with the fake engine."""
        deltas = [choice["delta"] for frame in self.frames if "choices" in frame for choice in frame["choices"]]
        return [delta["content"] for delta in deltas if delta.get("content")]


class World:
    """A gateway and the people around it: the owner of tenant 'mill', a stranger of tenant 'other'."""

    def __init__(
        self, db: Database, folder: Path, limits: Limits, script: FakeScript, hold_step: int, logs: Logs, processor: Any
    ) -> None:
        self.db = db
        self.clock = FakeClock()
        self.ids = Ids(self.clock)
        self.limits = limits
        self.metrics = Metrics()
        self.engine = FakeEngine(FakeSettings(model="echo", context_tokens=CONTEXT, script=script), self.clock)
        self.books = Books(db, folder / "journal", self.clock)
        model = Model(name="echo", engine="fake", context_tokens=CONTEXT, max_output_tokens=500, slots=8)
        spare = Model(name="spare", engine="fake", context_tokens=CONTEXT, max_output_tokens=500, slots=8)
        engines = {"echo": self.engine, "spare": FakeEngine(FakeSettings(model="spare"), self.clock)}
        prices = PriceBook(db, self.clock)
        catalogue = Catalogue([model, spare])
        limiter = Limiter(limits, self.clock)
        self.lending = Lending(self._tuned_engine, limits, self.clock)
        self.offers = Offers(db, catalogue, engines, self.lending, self.clock)
        self.inference = Inference(
            Admission(self.offers, prices), self.books, limiter,
            Repetition(db, self.books, limiter, limits, self.clock), limits, self.clock, self.metrics, hold_step,
        )
        tracer = NO_TRACER if processor is None else OtelTracer(processor, self.clock, {})
        directory = Directory(db, self.clock)
        self.depot = Depot(db, folder / "hub", self.ids, self.clock, HUB_QUOTA)
        workshop = Workshop(folder, fake_trainer.Inline.spawn, fake_trainer.convert, self.clock)
        office = Office(db, catalogue, workshop, self.ids)
        files = Files(db, office.shelf, limits, self.clock, self.ids)
        self.gateway = Gateway(
            directory=directory,
            tuning=Tuning(files, FineTuning(db, office, limits)),
            hub=HubRoutes(self.depot, directory, limits, self.clock, transfers_max=4),
            inference=self.inference,
            reads=Reads(db, self.offers, prices, self.clock, self.inference.running),
            engines=engines,
            metrics=self.metrics,
            observer=Observer(self.clock, self.metrics, logs, tracer),
            ids=self.ids,
            pages=_no_pages,
        )
        self.owner, self.owner_key = self._tenant("mill")
        self.stranger, self.stranger_key = self._tenant("other")

    def _tuned_engine(self, model: TunedModel) -> FakeEngine:
        """As the composition root makes it for a base that is served by the fake engine."""
        script = FakeScript(opening=f"[{model.name}] ", tokens=3)
        return FakeEngine(FakeSettings(model=model.name, context_tokens=CONTEXT, embeds=False, script=script), self.clock)

    def key(self, tenant: Tenant, **terms: Any) -> str:
        """Another key of a tenant."""

        def work(tx: Any) -> str:
            project = tenants.find_or_create_project(tx, self.ids, self.clock.now(), tenant=tenant)
            return tenants.create_key(tx, self.ids, self.clock.now(), project=project, **({"scopes": set(KeyScope)} | terms))[1]

        return self.db.write_now(work)

    def balance(self, tenant: Tenant | None = None) -> Balance:
        who = tenant or self.owner
        return self.db.read(lambda tx: grants.balance(tx, who.id, who.currency, self.clock.now()))

    async def call(
        self, method: str, path: str, body: bytes = b"", *, key: str | None = None, headers: dict[str, str] | None = None,
        on_part: Callable[[Answer, Connection], None] | None = None, query: str = "", leave_in_body: bool = False,
        connection: Connection | None = None,
    ) -> Answer:  # fmt: skip
        """One request. `on_part` is told after each piece that arrives and may lose or stall the connection."""
        answer = Answer()
        connection = connection or Connection(lambda: False)
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if leave_in_body:
                return {"type": "http.disconnect"}
            if sent:
                await asyncio.get_running_loop().create_future()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if connection.lost:
                return
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            if message["body"]:
                answer.parts.append(message["body"])
            answer.ended = not message["more_body"]
            if on_part is not None:
                on_part(answer, connection)

        fields = {"authorization": f"Bearer {self.owner_key if key is None else key}"} | (headers or {})
        scope: Scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
            "extensions": {EXTENSION: connection},
        }  # fmt: skip
        await self.gateway(scope, receive, send)
        return answer

    async def chat(
        self, *, key: str | None = None, on_part: Any = None, headers: Any = None, connection: Any = None, **fields: Any
    ) -> Answer:
        asked = {"model": "echo", "messages": [{"role": "user", "content": "hello mill"}]} | fields
        body = json.dumps(asked).encode()
        return await self.call(
            "POST", "/v1/chat/completions", body, key=key, on_part=on_part, headers=headers, connection=connection
        )

    async def receipt(self, answer: Answer, key: str | None = None) -> Any:
        return (await self.call("GET", f"/v1/receipts/{answer.request_id}", key=key)).json

    async def __aenter__(self) -> "World":
        await self.books.open()
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.lending.pool.close()
        await self.engine.close()
        await self.books.close()

    def _tenant(self, name: str) -> tuple[Tenant, str]:
        now = self.clock.now()

        def work(tx: Any) -> Tenant:
            for model in ("echo", "spare", "tune:echo"):
                price = parse_price(
                    {"model": model, "currency": "CNY", "input": "1", "cached_input": "0.5", "output": "4"}, where="test"
                )
                import_price(tx, price, now)
            tenant = tenants.create_tenant(tx, self.ids, now, name=name, mode=Mode.PREPAID, currency="CNY")
            grants.give(
                tx,
                grants.new_grant(
                    id=self.ids.new("gr"), tenant_id=tenant.id, amount=CREDIT, currency="CNY", funding=Funding.CUSTOMER, now=now
                ),
            )
            return tenant

        tenant = self.db.write_now(work)
        return tenant, self.key(tenant)


Play = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene in a world of its own: `play(scene, limits=…, script=…)`."""

    def run(
        scene: Play,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        script: FakeScript = FakeScript(tokens=8),  # noqa: B008 - frozen
        hold_step: int = STEP_TOKENS,
        logs: Logs = Logs(),  # noqa: B008 - frozen
        processor: Any = None,
    ) -> None:
        asyncio.run(_play(scene, _world(tmp_path, limits, script, hold_step, logs, processor)))

    return run


async def _play(scene: Play, making: AbstractAsyncContextManager[World]) -> None:
    async with making as world:
        await scene(world)
        assert not world.inference.running
        await world.books.sweep()
        assert world.balance().held == 0, "a request left a hold behind"


@asynccontextmanager
async def _world(
    folder: Path, limits: Limits, script: FakeScript, hold_step: int, logs: Logs, processor: Any
) -> AsyncIterator[World]:
    db = SqliteDatabase(folder / "millrace.db")
    try:
        db.migrate(schema.migrations())
        async with World(db, folder, limits, script, hold_step, logs, processor) as world:
            yield world
    finally:
        db.close()


async def _no_pages(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the ASGI signature
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"no such page", "more_body": False})
