"""A page server of its own for looking at the pages: real database and pages, fake engines.

    PYTHONPATH=src python tests/console/server.py 8123      # http://127.0.0.1:8123/
"""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

import uvicorn

from millrace import schema
from millrace.base.clock import SystemClock
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.console.pages import pages
from millrace.engines.fake import FakeEngine, FakeSettings
from millrace.engines.protocol import Engine
from millrace.gateway.exchange import App
from millrace.money.rating.book import parse_prices
from millrace.money.rating.store import import_price
from millrace.store.sqlite_database import SqliteDatabase

MODELS = (("qwen3-8b", 32_768, 8_192), ("qwen3-max", 262_144, 32_768), ("millrace-tiny", 1_024, 512))

PRICES: list[dict[str, object]] = [
    {"model": "qwen3-8b", "currency": "CNY", "input": "0.8", "cached_input": "0.16", "output": "2.0"},
    {"model": "qwen3-8b", "currency": "EUR", "input": "0.105", "cached_input": "0.021", "output": "0.26"},
    {
        "model": "qwen3-max", "currency": "CNY",
        "tiers": [
            {"up_to_input_tokens": 32_768, "input": "2.5", "cached_input": "0.5", "output": "10"},
            {"up_to_input_tokens": 131_072, "input": "4", "cached_input": "0.8", "output": "16"},
            {"input": "7", "cached_input": "1.4", "output": "28"},
        ],
    },
    {"model": "millrace-tiny", "currency": "CNY", "input": "0.10", "cached_input": "0.02", "output": "0.20"},
]  # fmt: skip


def app(folder: Path) -> App:
    """The pages over a new database in the folder."""
    clock = SystemClock()
    db = SqliteDatabase(folder / "books.db")
    db.migrate(schema.migrations())
    db.write_now(lambda tx: [import_price(tx, price, clock.now()) for price in parse_prices(PRICES)])
    models = [
        Model(name=name, engine="fake", context_tokens=context, max_output_tokens=output, slots=4)
        for name, context, output in MODELS
    ]
    engines: dict[str, Engine] = {
        model.name: FakeEngine(FakeSettings(model=model.name, context_tokens=model.context_tokens), clock)
        for model in models
    }
    for engine in engines.values():
        asyncio.run(engine.start())
    return pages(Catalogue(models), engines, db, clock)


def main() -> None:
    """Serve on the port that is asked for, else on a free one; the first line on stdout says which."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    listener = socket.create_server(("127.0.0.1", port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        config = uvicorn.Config(app(Path(folder)), log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
