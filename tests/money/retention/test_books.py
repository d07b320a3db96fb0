"""Books whose old usage was deleted: the audit agrees, invoices can be checked, and nothing can be billed again."""

from pathlib import Path

import pytest
from tests.money.house import House
from tests.money.memory import MemoryDatabase
from tests.money.retention.conftest import quiet
from tests.money.usage_rows import DAY

from millrace.base.clock import NS_PER_S
from millrace.base.errors import Refusal
from millrace.base.ids import Ids
from millrace.base.times import month_of
from millrace.money.invoices import store as invoices
from millrace.money.invoices.draft import Customer
from millrace.money.retention.exporter import Exporter
from millrace.money.retention.keeper import Dropped, Keeper
from millrace.money.rollups.roller import Roller


class Cloud:
    """A house that served in November, in memory, with a folder for exports."""

    def __init__(self, folder: Path) -> None:
        self.house = House()
        self.db = MemoryDatabase(self.house)
        self.exporter = Exporter(self.db, folder, range_rows=10)
        self._served = 0

    def serve(self, count: int) -> None:
        """Requests of all kinds of payers, one after the other."""
        for _ in range(count):
            self._served += 1
            name, budget = (("acme", False), ("bolt", False), ("acme", True))[self._served % 3]
            self.house.hold(self._served, name, 20, 30, budget=budget)
            self.house.clock.advance(600)
            self.house.settle(self._served, self._served % 7, 0 if self._served % 7 == 0 else 5, waived=self._served % 2)

    def invoice(self) -> None:
        """The month in which everything was served, for everybody."""
        period, ids = month_of(self.house.clock.now() - 30 * DAY), Ids(self.house.clock)
        for name in ("acme", "bolt", "mole"):
            customer = Customer(id=f"ten_{name}", name=name)
            self.house.do(lambda tx, one=customer: invoices.run(tx, one, period, self.house.clock.now(), ids))  # type: ignore[misc]

    def drop(self) -> Dropped:
        closed = Roller(self.db).roll()
        self.exporter.run(closed, self.house.clock.now(), quiet)
        return Keeper(self.db, self.exporter, step_rows=3, pause=lambda: None).run(20, self.house.clock.now(), quiet)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    made = Cloud(tmp_path)
    made.house.give("acme", "10.00")
    made.serve(35)
    made.house.clock.advance(30 * DAY // NS_PER_S)
    made.invoice()
    assert made.house.disagreements() == []
    return made


def test_the_audit_agrees_after_a_drop(cloud: Cloud) -> None:
    """Tenants, budgets, posts and invoice lines come to what they did, with three quarters of the rows gone."""
    assert cloud.drop().requests == 30
    assert cloud.house.tx.rows("SELECT COUNT(*) FROM usage") == [(5,)]
    assert cloud.house.disagreements() == []
    cloud.serve(3)
    assert cloud.house.disagreements() == []


def test_an_invoice_with_archived_usage_is_not_voided(cloud: Cloud) -> None:
    """Its rows could not be invoiced again, so it stays, and says so."""
    cloud.drop()
    (invoice,) = invoices.of_period(cloud.house.tx, "ten_bolt", month_of(cloud.house.clock.now() - 30 * DAY))
    with pytest.raises(Refusal, match=f"{invoice.number} cannot be voided any more: usage on it is archived"):
        cloud.house.do(lambda tx: invoices.void(tx, invoice.id, "wrong", cloud.house.clock.now()))
    assert cloud.house.disagreements() == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE dropped_usage SET amount = amount + 1 WHERE invoice_id <> ''", "was charged"),
        ("DELETE FROM archived WHERE request_id = (SELECT MIN(request_id) FROM archived WHERE invoice_id IS NOT NULL)",
         "there is no usage row for it"),
        ("UPDATE dropped_usage SET input = input + 1 WHERE invoice_id <> ''", "rounding does not explain that"),
    ],
)  # fmt: skip
def test_the_audit_finds_what_was_changed_of_it(cloud: Cloud, statement: str, found: str) -> None:
    """What stands for deleted rows is checked as they were."""
    cloud.drop()
    cloud.house.tamper(statement)
    assert found in " ".join(cloud.house.disagreements())
