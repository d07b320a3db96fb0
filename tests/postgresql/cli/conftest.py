"""The command line on a home whose settings name a PostgreSQL database, with a model, a price and nobody in it yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import PRICES, SETTINGS, Cli, acme
from tests.postgres import Server

__all__ = ["acme"]


def home_on(folder: Path, url: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "millrace.toml").write_text(f'{SETTINGS}{PRICES}\n[store]\nurl = "{url}"\n')
    (folder / "prices.toml").write_text(PRICES)
    return folder


@pytest.fixture(scope="session")
def priced(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with every table and the prices, to be copied."""
    name = server.new_database(server.migrated)
    home = home_on(tmp_path_factory.mktemp("template") / "home", server.url(name))
    Cli(home).text("price", "import", str(home / "prices.toml"))
    return name


@pytest.fixture
def cli(server: Server, priced: str, tmp_path: Path) -> Iterator[Cli]:
    name = server.new_database(priced)
    yield Cli(home_on(tmp_path / "home", server.url(name)))
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")
