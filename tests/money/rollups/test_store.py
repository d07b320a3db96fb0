"""Roll-ups: the same sums as from the rows, whatever is rolled up yet and wherever a span begins and ends."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.money.house import NOVEMBER_23, House
from tests.money.usage_rows import DAY, HOUR, QUARTER, add_usage

from millrace.base.errors import Refusal
from millrace.money.metering import store as metering
from millrace.money.metering.store import By
from millrace.money.rollups import store as rollups


def roll(house: House, *, upto: int | None = None, rows: int = 7) -> None:
    """Roll up all there is, or up to a number, in small steps."""
    closed = rollups.horizon(house.tx).seq if upto is None else upto
    while step := rollups.next_step(house.tx, closed, rows):
        assert rollups.add(house.tx, step)


instants = st.one_of(
    st.integers(NOVEMBER_23 - HOUR, NOVEMBER_23 + 2 * DAY),
    st.integers(0, 100).map(lambda number: NOVEMBER_23 - HOUR + number * QUARTER),
)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1000), count=st.integers(0, 40), rolled=st.integers(0, 45), span=st.sampled_from((HOUR, DAY)),
    ends=st.tuples(instants, instants), by=st.sampled_from(("model", "day", "key")),
)
def test_sums_are_what_the_rows_come_to(
    seed: int, count: int, rolled: int, span: int, ends: tuple[int, int], by: By
) -> None:
    """Exactly equal for every tenant, span and key, when none, some or all of the rows are rolled up."""
    house = House()
    add_usage(house.tx, random.Random(seed), count, span=span)
    roll(house, upto=min(rolled, count))
    start, end = sorted(ends)
    for tenant in ("ten_acme", "ten_bolt", "ten_mole"):
        raw = metering.sums(house.tx, tenant, start, end, by)
        assert rollups.sums(house.tx, tenant, start, end, by) == raw


def test_a_large_cloud_s_sums_do_not_overflow() -> None:
    """Amounts that together leave 64 bits are summed exactly, in steps or not."""
    house = House()
    add_usage(house.tx, random.Random(1), 60, largest=2**62, span=QUARTER)
    roll(house)
    found = rollups.sums(house.tx, "ten_acme", NOVEMBER_23, NOVEMBER_23 + DAY, "model")
    assert found == metering.sums(house.tx, "ten_acme", NOVEMBER_23, NOVEMBER_23 + DAY, "model")
    assert sum(one.amount for one in found) > 2**63


def test_a_step_is_added_once(house: House) -> None:
    """Of two rollers that summed the same rows, one adds them."""
    add_usage(house.tx, random.Random(2), 20)
    mine, yours = rollups.next_step(house.tx, 20, 10), rollups.next_step(house.tx, 20, 15)
    assert mine is not None
    assert yours is not None
    assert rollups.add(house.tx, yours)
    assert not rollups.add(house.tx, mine)
    assert rollups.cursor(house.tx) == 15
    roll(house)
    assert rollups.sums(house.tx, "ten_bolt", 0, 2**62, "key") == metering.sums(house.tx, "ten_bolt", 0, 2**62, "key")


def test_a_step_is_bounded(house: House) -> None:
    """No more rows than were asked for, also where numbers are missing."""
    add_usage(house.tx, random.Random(3), 30)
    house.tamper("DELETE FROM usage WHERE seq BETWEEN 4 AND 12")
    step = rollups.next_step(house.tx, 30, 5)
    assert step is not None
    assert (step.after, step.upto) == (0, 14)
    assert rollups.add(house.tx, step)
    assert house.tx.rows("SELECT SUM(requests) FROM rollup") == [(5,)]


def test_parts_of_archived_quarters_are_refused(house: House) -> None:
    """Where rows are gone, a span that cuts a quarter of an hour is refused, and whole ones are as before."""
    add_usage(house.tx, random.Random(4), 30, span=HOUR)
    roll(house)
    before = rollups.sums(house.tx, "ten_acme", NOVEMBER_23, NOVEMBER_23 + HOUR, "model")
    house.tamper(
        "INSERT INTO export VALUES (1, 30, 'f', 'h', 1, 30, 1, 0, '{}', 0, (SELECT MAX(finished_at) FROM usage), 0)",
        "INSERT INTO dropped_range VALUES (1, 30, 30, 0)", "DELETE FROM usage",
    )  # fmt: skip
    assert rollups.sums(house.tx, "ten_acme", NOVEMBER_23, NOVEMBER_23 + HOUR, "model") == before
    with pytest.raises(Refusal, match="begin and end at a whole quarter"):
        rollups.sums(house.tx, "ten_acme", NOVEMBER_23 + 1, NOVEMBER_23 + HOUR, "model")
    assert rollups.sums(house.tx, "ten_acme", NOVEMBER_23 + HOUR, NOVEMBER_23 + 2 * HOUR + 5, "model") == []


@pytest.mark.parametrize("rolled", [0, 15, 40])
def test_requests_served_are_counted_over_all_tenants(rolled: int) -> None:
    """Each row once, rolled up or not."""
    house = House()
    rows = 40
    add_usage(house.tx, random.Random(3), rows)
    roll(house, upto=rolled)
    by_model: dict[str, int] = {}
    for tenant in ("ten_acme", "ten_bolt", "ten_mole"):
        for one in metering.sums(house.tx, tenant, 0, 2**62, "model"):
            by_model[one.key] = by_model.get(one.key, 0) + one.requests
    assert rollups.served(house.tx) == by_model
    assert sum(by_model.values()) == rows
