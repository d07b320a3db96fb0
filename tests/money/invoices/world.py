"""A small world of tenants who are served and invoiced: real holds and settlements, in memory, at the times we say."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.base.money import parse_amount
from millrace.base.times import Period, parse_month, parse_time
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.billing import store as billing
from millrace.money.billing.desk import Ours
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.orders import Order, ToHold, ToSettle
from millrace.money.billing.serving import serve
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.invoices import store as invoices
from millrace.money.invoices.draft import Customer
from millrace.money.invoices.store import Invoice
from millrace.money.invoices.verify import verify
from millrace.money.ledger import store as ledger
from millrace.money.ledger import trial_balance
from millrace.money.metering.usage import Status
from millrace.money.rating.book import NewPrice, PriceTier
from millrace.money.rating.store import import_price, price_at
from millrace.schema import migrations as schema
from millrace.store import migrations
from millrace.store.sqlite import SqliteTx, connect
from millrace.store.transaction import Tx

T = TypeVar("T")

NOVEMBER = parse_month("2026-11")
DECEMBER = parse_month("2026-12")
OPENING = parse_time("2026-01-01", param="")


def at(text: str) -> int:
    return parse_time(text, param="")


class Memory:
    """The database's door on SQLite in memory, so that no test waits for a disk. What `work` raises undoes it too."""

    def __init__(self) -> None:
        self._connection = connect(Path(":memory:"), writable=True)
        self._tx = SqliteTx(self._connection)

    def write(self, work: Callable[[Tx], T]) -> T:
        self._tx.run("SAVEPOINT work")
        try:
            value = work(self._tx)
        except BaseException:
            self._tx.run("ROLLBACK TO work")
            raise
        finally:
            self._tx.run("RELEASE work")
        return value

    def read(self, work: Callable[[Tx], T]) -> T:
        return work(self._tx)


class World:
    """`acme` pays in advance, `bolt` by invoice with a credit limit, `coop` by invoice and has a grant too."""

    def __init__(self) -> None:
        self.db = Memory()
        self.write = self.db.write
        self.write(lambda tx: migrations.apply(tx, schema()))
        self.ids = Ids(FakeClock(OPENING), entropy=_counting())
        self.requests = itertools.count(1)
        for name, mode, limit in (("acme", "prepaid", "0"), ("bolt", "postpaid", "100"), ("coop", "postpaid", "100")):
            self.tenant(name, mode, parse_amount(limit))
        self.grant("acme", "1000")

    def tenant(self, name: str, mode: str, limit: int) -> None:
        self.write(lambda tx: _tenant(tx, name, mode, limit))

    def price(self, model: str, *tiers: tuple[int | None, str, str, str], since: str = "2026-01-01") -> None:
        built = tuple(PriceTier(up_to, *map(parse_amount, prices)) for up_to, *prices in tiers)
        new = NewPrice(model=model, currency="CNY", tiers=built, effective_from=at(since))
        self.write(lambda tx: import_price(tx, new, OPENING))

    def grant(self, tenant: str, amount: str) -> None:
        given = grants.new_grant(
            id=self.ids.new("grant"), tenant_id=tenant, amount=parse_amount(amount), currency="CNY",
            funding=Funding.CUSTOMER, now=OPENING,
        )  # fmt: skip
        self.write(lambda tx: grants.give(tx, given))

    def serve(self, tenant: str, when: str, model: str, counts: TokenCounts) -> str:
        """One request, held and settled at `when`; returns its id."""
        instant, request_id = at(when), f"req_{next(self.requests):026}"
        payer = Payer(
            tenant_id=tenant, project_id=f"{tenant}-project", key_id=f"{tenant}-key", currency="CNY", budget=None
        )
        outcome = Outcome(status=Status.COMPLETED, counts=counts, counted_by=CountedBy.ENGINE)

        def work(tx: Tx) -> None:
            price = price_at(tx, model, "CNY", instant)
            assert price is not None
            orders: list[Order] = [
                ToHold(
                    request_id=request_id, payer=payer, price=price, input_bound=counts.input, output_bound=counts.output
                ),
                ToSettle(request_id=request_id, outcome=outcome),
            ]  # fmt: skip
            for order in orders:
                (answer,) = serve(tx, [order], Ours(epoch=1, slot=1), instant)
                if isinstance(answer, Exception):
                    raise answer

        self.write(work)
        return request_id

    def serve_table(self, text: str) -> None:
        """One request a row: tenant, when, model, input, cached input, output."""
        for row in text.strip().splitlines():
            tenant, when, model, *tokens = row.split()
            self.serve(tenant, when, model, TokenCounts(*map(int, tokens)))

    def run(self, tenant: str, period: Period = NOVEMBER, now: str = "2026-12-01T02:00:00Z") -> list[Invoice]:
        customer = Customer(tenant, tenant.title())
        return self.write(lambda tx: invoices.run(tx, customer, period, at(now), self.ids))

    def void(self, name: str, reason: str = "wrong address", now: str = "2026-12-02") -> Invoice:
        return self.write(lambda tx: invoices.void(tx, name, reason, at(now)))

    def balance(self, account_id: str) -> int:
        """Credits less debits, nano-units; an account that was never opened has none."""
        account = self.db.read(lambda tx: ledger.account(tx, account_id))
        return 0 if account is None else account.credits_posted - account.debits_posted

    def amounts(self) -> dict[str, int]:
        """Every request's charge, by its id."""
        return dict(self.db.read(lambda tx: tx.rows("SELECT request_id, amount FROM usage")))

    def on(self) -> dict[str, str | None]:
        """Which invoice each request is on."""
        return dict(self.db.read(lambda tx: tx.rows("SELECT request_id, invoice_id FROM usage")))

    def findings(self) -> list[str]:
        """What an audit has to say: nothing, in a sound world."""
        found = [sentence for check in verify(self.db.read) for sentence in check.findings]
        totals = trial_balance.totals(self.db.read(ledger.accounts))
        return found + [f"{total.currency}: debits and credits differ" for total in totals if not total.balanced]

    def tamper(self, *statements: str) -> None:
        """Change rows behind everybody's back, as somebody with the file could: without triggers."""

        def work(tx: Tx) -> None:
            for (name,) in tx.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
                tx.run(f"DROP TRIGGER {name}")
            for statement in statements:
                assert tx.run(statement) > 0, statement

        self.write(work)


def _tenant(tx: Tx, name: str, mode: str, limit: int) -> None:
    tx.run(
        "INSERT INTO tenant (id, name, mode, currency, credit_limit, created_at)"
        " VALUES (:id, :id, :mode, 'CNY', :limit, 0)",
        id=name, mode=mode, limit=limit,
    )  # fmt: skip
    tx.run(
        "INSERT INTO project (id, tenant_id, name, created_at) VALUES (:project, :id, 'main', 0)",
        project=f"{name}-project", id=name,
    )  # fmt: skip
    tx.run(
        "INSERT INTO api_key (id, project_id, sha256, scopes, created_at)"
        " VALUES (:key, :project, :sha256, 'inference', 0)",
        key=f"{name}-key", project=f"{name}-project", sha256=hashlib.sha256(name.encode()).hexdigest(),
    )  # fmt: skip
    tx.run("INSERT INTO epoch (number, started_at) VALUES (1, 0) ON CONFLICT DO NOTHING")
    if mode == "postpaid":
        billing.open_credit(tx, name, "CNY", limit)


def _counting() -> Callable[[int], bytes]:
    """Entropy that counts, so that ids are the same in each run."""
    numbers = itertools.count(1)
    return lambda length: next(numbers).to_bytes(length, "big")
