"""The command line in this process, each test on a home of its own, with a model, a price and nobody in it yet."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.cli import place
from millrace.cli.main import app
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.billing.desk import Ours
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.orders import ToHold, ToSettle
from millrace.money.billing.serving import serve
from millrace.money.epochs import store as epochs
from millrace.money.metering.usage import Status
from millrace.money.rating.store import price_at
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants

SETTINGS = """
[[models]]
name = "echo"
engine = "fake"
context_tokens = 8192
max_output_tokens = 4096
"""

PRICES = """
[[prices]]
model = "echo"
currency = "CNY"
input = "0.8"
cached_input = "0.16"
output = "2.0"
"""


class Cli:
    """`refused` and the others check the exit code and which stream is used, so that every test does."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["--home", str(self.home), *arguments])

    def text(self, *arguments: str) -> str:
        """What people see of a command that succeeds."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """The one object that programs see."""
        printed = self.text(*arguments, "--json")
        assert printed.count("\n") == 1
        form = json.loads(printed)
        assert isinstance(form, dict)
        return form

    def refused(self, *arguments: str) -> str:
        """The sentence of a refusal."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert result.stderr.startswith("millrace: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("millrace: ").rstrip("\n")

    def serve(self, tenant: str, *, input: int = 1000, output: int = 500) -> str:  # noqa: A002
        """Put a settled request of the tenant's first key into the books, as a server would; returns its id."""
        clock = SystemClock()
        now = clock.now()
        request_id = Ids(clock).new("req")

        def work(tx: Tx) -> None:
            owner = tenants.tenant_named(tx, tenant)
            key = tenants.keys(tx, owner)[0]
            payer = Payer(
                tenant_id=owner.id, project_id=key.project_id, key_id=key.id, currency=owner.currency, budget=key.budget
            )
            price = price_at(tx, "echo", owner.currency, now)
            assert price is not None
            counts = TokenCounts(input=input, cached_input=0, output=output, reasoning=0)
            epoch, slot = epochs.begin(tx, now=now, lease_now=tx.now(now), home="", lock=lambda _: None)
            held = ToHold(request_id=request_id, payer=payer, price=price, input_bound=input, output_bound=output)
            ended = Outcome(status=Status.COMPLETED, counts=counts, counted_by=CountedBy.ENGINE)
            for order in (held, ToSettle(request_id=request_id, outcome=ended)):
                (answer,) = serve(tx, [order], Ours(epoch, slot), now)
                if isinstance(answer, Exception):
                    raise answer
            epochs.end(tx, epoch, now)

        with closing(self.database()) as database:
            database.write_now(work)
        return request_id

    def database(self) -> Database:
        """The home's, whichever make it is of."""
        return place.open_database(self.home, None, make=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with every table, made once."""
    home = tmp_path_factory.mktemp("template") / "home"
    home.mkdir()
    (home / "millrace.toml").write_text(SETTINGS + PRICES)
    (home / "prices.toml").write_text(PRICES)
    Cli(home).text("price", "import", str(home / "prices.toml"))
    return home


@pytest.fixture
def cli(template: Path, tmp_path: Path) -> Cli:
    return Cli(Path(shutil.copytree(template, tmp_path / "home")))


@pytest.fixture
def acme(cli: Cli) -> Cli:
    """With the tenant acme, who has 100.00 and a key."""
    cli.text("tenant", "create", "acme")
    cli.text("grant", "create", "--tenant", "acme", "--amount", "100.00")
    cli.text("key", "create", "--tenant", "acme")
    return cli
