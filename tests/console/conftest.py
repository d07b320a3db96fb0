"""A browser without a window: one request at a time straight into the pages."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from millrace import schema
from millrace.base.clock import FakeClock
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.console.pages import pages
from millrace.engines.fake import FakeEngine, FakeSettings
from millrace.gateway.exchange import App
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Browser:
    """`get('/')` as by GET; the Host header is 'models.example' unless another is given."""

    def __init__(self, app: App) -> None:
        self._app = app

    def get(self, path: str, *, method: str = "GET", host: str = "models.example", **headers: str) -> Answer:
        return asyncio.run(self._ask(path, method, {"host": host, **headers}))

    async def _ask(self, path: str, method: str, headers: Mapping[str, str]) -> Answer:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"", "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
        }  # fmt: skip
        await self._app(scope, receive, send)
        start, *rest = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, b"".join(message["body"] for message in rest))


class Site:
    """The pages with all that they show within reach."""

    def __init__(self, db: Database, models: tuple[Model, ...]) -> None:
        self.db = db
        self.clock = FakeClock()
        self.engines = {
            model.name: FakeEngine(FakeSettings(model=model.name, context_tokens=model.context_tokens), self.clock)
            for model in models
        }
        self.browser = Browser(pages(Catalogue(models), dict(self.engines), db, self.clock))

    def get(self, path: str, *, method: str = "GET", host: str = "models.example", **headers: str) -> Answer:
        return self.browser.get(path, method=method, host=host, **headers)

    def start(self, name: str) -> None:
        asyncio.run(self.engines[name].start())


def model(name: str, context_tokens: int = 32_768, max_output_tokens: int = 8_192) -> Model:
    return Model(
        name=name, engine="fake", context_tokens=context_tokens, max_output_tokens=max_output_tokens, slots=4
    )


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = SqliteDatabase(tmp_path / "books.db")
    database.migrate(schema.migrations())
    yield database
    database.close()


@pytest.fixture
def site_of(db: Database) -> Callable[..., Site]:
    """`site_of('a', 'b')`: the pages of a server with these models."""
    return lambda *names: Site(db, tuple(model(name) for name in names))


@pytest.fixture
def site(site_of: Callable[..., Site]) -> Site:
    return site_of("qwen3-8b", "qwen3-max")
