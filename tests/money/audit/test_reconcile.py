"""Engines, usage, ledger and invoices side by side, by day and model."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.money.audit.life import Life
from tests.money.audit.test_examine import sqlite
from tests.money.house import NOVEMBER_23

from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.base.times import month_of
from millrace.money.audit import store
from millrace.money.audit.reconcile import MoneyLine, Reconciliation, TokenLine, Tokens, reconcile
from millrace.money.invoices import store as invoices
from millrace.money.invoices.draft import Customer
from millrace.money.metering.store import count_made
from millrace.store.database import Database

DAY = 86_400 * NANO
NONE = Tokens(0, 0, 0)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with sqlite(tmp_path) as db:
        yield two_days_of(db)


def two_days_of(db: Database) -> Life:
    """Nine requests of 5 + 5 tokens end on the first day and one on the second; bolt is invoiced for the three of its."""
    life = Life(db)
    life.pass_by(10)
    life.now += DAY
    life.pass_by(1)
    db.write_now(lambda tx: count_made(tx, 1, [("tiny", "2026-11-23", 9, 50, 51), ("tiny", "2026-11-24", 1, 5, 5)]))
    db.write_now(
        lambda tx: invoices.run(tx, Customer("ten_bolt", "Bolt"), month_of(NOVEMBER_23), life.now, Ids(FakeClock(life.now)))
    )
    return life


def two_days(life: Life) -> Reconciliation:
    return reconcile(life.db.read, NOVEMBER_23, NOVEMBER_23 + 2 * DAY)


def test_four_sources_stand_side_by_side(life: Life) -> None:
    """Tokens by day and model with what engines made and nobody was billed for; money with what is on invoices."""
    found = two_days(life)
    assert found.tokens == [
        TokenLine("2026-11-23", "tiny", Tokens(9, 50, 51), Tokens(9, 45, 45), 0, Tokens(3, 15, 15)),
        TokenLine("2026-11-24", "tiny", Tokens(1, 5, 5), Tokens(1, 5, 5), 0, NONE),
    ]
    assert [line.difference for line in found.tokens] == [11, 0]
    each = 15_000_000
    assert found.money == [
        MoneyLine("2026-11-23", "tiny", "CNY", 9 * each, 9 * each, 0, 3 * each),
        MoneyLine("2026-11-24", "tiny", "CNY", each, each, 0, 0),
    ]
    assert [line.difference for line in found.money] == [0, 0]


def test_a_span_of_days_is_a_span_of_days(life: Life) -> None:
    """The day after is on no line; where nobody counted engines, there is no difference to show."""
    life.tamper("DELETE FROM engine_count")
    found = reconcile(life.db.read, NOVEMBER_23, NOVEMBER_23 + DAY)
    assert [(line.day, line.engine, line.difference) for line in found.tokens] == [("2026-11-23", None, None)]
    assert [line.day for line in found.money] == ["2026-11-23"]


def test_what_does_not_agree_is_in_its_column(life: Life) -> None:
    """A usage row that says too much, and one of a model that nothing was posted for."""
    life.tamper("UPDATE usage SET amount = amount + 7 WHERE seq = 1")
    assert [line.difference for line in two_days(life).money] == [7, 0]
    life.tamper("UPDATE usage SET model = 'free' WHERE seq = 2")
    assert {(line.model, line.difference) for line in two_days(life).money} == {
        ("free", 15_000_000), ("tiny", -15_000_000 + 7), ("tiny", 0),
    }  # fmt: skip


def test_spans_of_rows_add_up(life: Life) -> None:
    """What is read in spans comes to what is read at once."""
    whole = life.db.read(lambda tx: store.usage_days(tx, 0, store.LAST_SEQ, NOVEMBER_23, NOVEMBER_23 + 2 * DAY))
    parts = [
        row
        for after in range(10)
        for row in life.db.read(
            partial(store.usage_days, after=after, until=after + 1, start=NOVEMBER_23, end=NOVEMBER_23 + 2 * DAY)
        )
    ]
    assert sum(row.amount for row in whole) == sum(row.amount for row in parts) == 150_000_000
    assert sum(row.requests for row in parts) == 10
