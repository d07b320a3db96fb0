"""A small house with books in it: the database in memory, the cast, the prices; for tests of the money rooms.

Cast: `acme` pays in advance, `bolt` is billed at the month's end and may owe 5 yuan, `mole` is a stranger to both.
"""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from millrace.base.clock import FakeClock
from millrace.base.ids import id_bytes, id_from_bytes
from millrace.base.money import NANO, parse_amount
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.audit.run import audit
from millrace.money.billing import store as billing
from millrace.money.billing.desk import Ours
from millrace.money.billing.hold import OpenHold, Outcome, Payer
from millrace.money.billing.orders import Order, ToExtend, ToHold, ToSettle
from millrace.money.billing.serving import serve
from millrace.money.epochs import store as epochs
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Balance, Funding, Grant
from millrace.money.metering.journal import Journal
from millrace.money.metering.usage import Status, Usage
from millrace.money.rating.book import PriceVersion, parse_price
from millrace.money.rating.store import import_price
from millrace.schema import migrations
from millrace.store import migrations as migrating
from millrace.store.sqlite import SqliteTx, connect
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx

T = TypeVar("T")

NOVEMBER_23: Final = 1_795_392_000 * NANO
"""2026-11-23T00:00:00Z."""

CREDIT_LIMIT: Final = 5 * NANO
BUDGET: Final = 2 * NANO
"""What acme's key 'key_acme_small' may spend in a month."""

PRICES: Final = (
    {"model": "tiny", "currency": "CNY", "input": "1000", "cached_input": "100", "output": "2000"},
    {"model": "free", "currency": "CNY", "input": "0", "cached_input": "0", "output": "0"},
)
"""'tiny' is a thousand times dearer than a real one, so that amounts can be read: 1 token in 0.001, out 0.002 yuan."""


def seed(tx: Tx) -> None:
    """Tables, cast and prices."""
    migrating.apply(tx, migrations())
    move_in(tx)


def move_in(tx: Tx) -> None:
    """Cast and prices, where the tables are there."""
    for name, mode, limit in (("acme", "prepaid", 0), ("bolt", "postpaid", CREDIT_LIMIT), ("mole", "prepaid", 0)):
        tx.run(
            "INSERT INTO tenant VALUES (:id, :name, :mode, 'CNY', :credit, 0)",
            id=f"ten_{name}", name=name, mode=mode, credit=limit,
        )  # fmt: skip
        tx.run("INSERT INTO project VALUES (:id, :tenant, 'default', 0)", id=f"proj_{name}", tenant=f"ten_{name}")
        for key, budget in ((f"key_{name}", None), (f"key_{name}_small", BUDGET)):
            tx.run(
                "INSERT INTO api_key VALUES (:id, :project, :id, 'inference', NULL, NULL, NULL, :budget, 0)",
                id=key, project=f"proj_{name}", budget=budget,
            )  # fmt: skip
    billing.open_credit(tx, "ten_bolt", "CNY", CREDIT_LIMIT)
    for price in PRICES:
        import_price(tx, parse_price(price, where="prices"), 0)


def payer(name: str, *, budget: bool = False) -> Payer:
    """Who pays when `name` asks; with the key that has a budget, or with the one that has none."""
    return Payer(
        tenant_id=f"ten_{name}", project_id=f"proj_{name}", key_id=f"key_{name}_small" if budget else f"key_{name}",
        currency="CNY", budget=BUDGET if budget else None,
    )  # fmt: skip


def price_of(tx: Tx, model: str) -> PriceVersion:
    return import_price(tx, parse_price(next(p for p in PRICES if p["model"] == model), where="prices"), 0)[0]


def request(number: int) -> str:
    """A request id that is easy to make again."""
    return id_from_bytes("req", number.to_bytes(16, "big"))


def outcome(input_: int, output: int, *, status: Status = Status.COMPLETED, waived: int = 0) -> Outcome:
    return Outcome(status=status, counts=TokenCounts(input_, 0, output, 0), counted_by=CountedBy.ENGINE, waived=waived)


def record(number: int, *, output: int, confirmed: int, input_: int = 100) -> bytes:
    """What the progress journal writes for a request: so much is about to be released, so much surely went out before it."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), 1)
        raw_id = id_bytes(request(number))
        said = TokenCounts(input_, 0, confirmed, 0) if confirmed else NO_TOKENS
        journal.record(raw_id, TokenCounts(input_, 0, output, 0), said, CountedBy.ENGINE)
        journal.close()
        return journal.records()[raw_id]


def disagreements(tx: Tx) -> list[str]:
    """What the auditor finds; [] when the books are right."""
    return [f"{check.name}: {check.detail}" for check in audit(tx) if not check.ok]


def begin_epoch(tx: Tx, now: int) -> tuple[int, int]:
    """A server's epoch and slot, for a house that has one server at a time."""
    return epochs.begin(tx, now=now, lease_now=now, home="", lock=lambda _: None)


@cache
def _seeded() -> bytes:
    """The seeded database as a file's bytes: made once, copied for each test."""
    connection = connect(Path(":memory:"), writable=True)
    seed(SqliteTx(connection))
    return connection.serialize("main")


class House:
    """The books in memory, one piece of work at a time, each whole or not at all as the writer makes it."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOVEMBER_23)
        self.connection = connect(Path(":memory:"), writable=True)
        self.connection.deserialize("main", _seeded())
        self.tx = SqliteTx(self.connection)
        self.epoch, self.slot = self.do(lambda tx: begin_epoch(tx, self.clock.now()))
        self.taken: frozenset[int] = frozenset()
        self.price = {model: price_of(self.tx, model) for model in ("tiny", "free")}
        self._grants = 0

    def do(self, work: Callable[[Tx], T]) -> T:
        self.connection.execute("SAVEPOINT work")
        try:
            done = work(self.tx)
        except BaseException:
            self.connection.execute("ROLLBACK TO work")
            self.connection.execute("RELEASE work")
            raise
        self.connection.execute("RELEASE work")
        return done

    def give(
        self, name: str, amount: str, *, funding: Funding = Funding.CUSTOMER, expires_in_s: int | None = None,
        key: str | None = None, id_: str | None = None,
    ) -> Grant:  # fmt: skip
        self._grants += 1
        now = self.clock.now()
        grant = grants.new_grant(
            id=id_ or f"gr_{self._grants:04d}", tenant_id=f"ten_{name}", amount=parse_amount(amount), currency="CNY",
            funding=funding, now=now, expires_at=None if expires_in_s is None else now + expires_in_s * NANO,
            idempotency_key=key,
        )  # fmt: skip
        return self.do(lambda tx: grants.give(tx, grant))

    def reborn(self) -> int:
        """The server dies, and the next one takes over what it left; returns the dead epoch."""
        dead = self.epoch
        self.epoch, self.slot = self.do(lambda tx: begin_epoch(tx, self.clock.now()))
        self.taken |= {dead}
        return dead

    @property
    def ours(self) -> Ours:
        """Who serves."""
        return Ours(self.epoch, self.slot, self.taken)

    def another(self, *busy: str) -> Ours:
        """One more server, to which these tenants are busy; it sees two alive."""
        begun = self.do(lambda tx: begin_epoch(tx, self.clock.now()))
        return Ours(*begun, living=2, busy=frozenset(f"ten_{name}" for name in busy))

    def ask(self, *orders: Order, ours: Ours | None = None) -> list[Any]:
        """What the orders come to when they are served together, by the house's own server or another: values, exceptions."""
        return self.do(lambda tx: serve(tx, orders, ours or self.ours, self.clock.now()))

    def must(self, order: Order, *, ours: Ours | None = None) -> Any:
        """The order's value; what it is refused with is raised."""
        (answer,) = self.ask(order, ours=ours)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hold(
        self, number: int, name: str, input_bound: int, output_bound: int, *, model: str = "tiny", budget: bool = False
    ) -> OpenHold:
        made: OpenHold = self.must(
            ToHold(
                request_id=request(number), payer=payer(name, budget=budget), price=self.price[model],
                input_bound=input_bound, output_bound=output_bound,
            )
        )  # fmt: skip
        return made

    def extend(
        self, number: int, name: str, output_bound: int, *, model: str = "tiny", budget: bool = False
    ) -> OpenHold:
        who = payer(name, budget=budget)
        extended: OpenHold = self.must(
            ToExtend(request_id=request(number), payer=who, price=self.price[model], output_bound=output_bound)
        )
        return extended

    def settle(self, number: int, input_: int, output: int, *, model: str = "tiny", waived: int = 0) -> Usage:
        ended = outcome(input_, output, waived=waived)
        usage: Usage = self.must(ToSettle(request_id=request(number), outcome=ended, price=self.price[model]))
        return usage

    def expire(self) -> int:
        return self.do(lambda tx: grants.expire(tx, self.clock.now()))

    def balance(self, name: str) -> Balance:
        return grants.balance(self.tx, f"ten_{name}", "CNY", self.clock.now())

    def budget_of(self, key: str, month: str) -> tuple[int, int]:
        """Spent and held, nano-units."""
        row = self.tx.row("SELECT spent, held FROM budget WHERE key_id = :key AND month = :month", key=key, month=month)
        return (0, 0) if row is None else (row[0], row[1])

    def tamper(self, *statements: str) -> None:
        """Change rows behind the books' back: no trigger, foreign key or CHECK stands in the way."""
        triggers = self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            self.connection.execute(f"DROP TRIGGER {name}")
        self.connection.execute("PRAGMA foreign_keys = OFF")
        self.connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            self.connection.execute(statement)

    def disagreements(self) -> list[str]:
        return disagreements(self.tx)


def on_disk(folder: Path) -> SqliteDatabase:
    """The same house in a file, behind the real door."""
    (folder / "millrace.db").write_bytes(_seeded())
    return SqliteDatabase(folder / "millrace.db")
