"""Usage rows: written once, read back whole, summed by model, day and key."""

import pytest
from tests.money.house import NOVEMBER_23, House, request

from millrace.base.money import NANO
from millrace.generation.chunk import TokenCounts
from millrace.money.metering import store as metering
from millrace.store.transaction import Conflict

DAY = 86_400 * NANO


@pytest.fixture
def used(house: House) -> House:
    """Acme on three days with two models and two keys; bolt once."""
    house.give("acme", "100")
    for number, model, budget in ((1, "tiny", False), (2, "tiny", True), (3, "free", False), (4, "tiny", False)):
        house.hold(number, "acme", 100, 100, model=model, budget=budget)
        house.settle(number, 10 * number, number, model=model, waived=number)
        house.clock.advance(86_400 / 2)
    house.hold(5, "bolt", 1, 1)
    house.settle(5, 1, 1)
    return house


def test_a_row_is_read_back_as_it_was_written(used: House) -> None:
    """Every field."""
    row = metering.by_request(used.tx, request(2))
    assert row is not None
    assert (row.tenant_id, row.project_id, row.key_id, row.model) == ("ten_acme", "proj_acme", "key_acme_small", "tiny")
    assert (row.tokens, row.waived, row.amount, row.currency) == (TokenCounts(20, 0, 2, 0), 2, 24_000_000, "CNY")
    assert (row.status, row.counted_by, row.price_id, row.tier) == ("completed", "engine", "tiny/CNY/v1", 0)
    noon = NOVEMBER_23 + DAY // 2
    assert (row.epoch, row.started_at, row.finished_at, row.invoice_id) == (1, noon, noon, None)
    assert metering.by_request(used.tx, request(9)) is None


def test_a_request_has_one_row(used: House) -> None:
    """The second is refused by the table."""
    row = metering.by_request(used.tx, request(2))
    assert row is not None
    with pytest.raises(Conflict):
        metering.insert(used.tx, [row])


def test_a_span_is_half_open_and_one_tenant(used: House) -> None:
    """What finished at the end belongs to the next span; nobody sees another tenant's rows."""
    rows = metering.in_span(used.tx, "ten_acme", NOVEMBER_23 + DAY // 2, NOVEMBER_23 + 3 * DAY // 2)
    assert [row.request_id for row in rows] == [request(2), request(3)]
    assert metering.in_span(used.tx, "ten_mole", 0, 2**62) == []


def test_sums_come_to_the_rows(used: House) -> None:
    """By model, by UTC day and by key: the same rows, and the same total."""
    end = NOVEMBER_23 + 9 * DAY
    by_model, by_day, by_key = (metering.sums(used.tx, "ten_acme", NOVEMBER_23, end, by) for by in ("model", "day", "key"))
    assert [(row.key, row.requests, row.amount) for row in by_model] == [("free", 1, 0), ("tiny", 3, 84_000_000)]
    assert [(row.key, row.requests, row.amount) for row in by_day] == [
        ("2026-11-23", 2, 36_000_000), ("2026-11-24", 2, 48_000_000),
    ]  # fmt: skip
    assert [(row.key, row.requests) for row in by_key] == [("key_acme", 3), ("key_acme_small", 1)]
    for rows in (by_model, by_day, by_key):
        assert sum(row.amount for row in rows) == 84_000_000
        assert sum(row.tokens.input for row in rows) == 100
        assert sum(row.waived for row in rows) == 10
