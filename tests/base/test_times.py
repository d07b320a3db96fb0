"""Instants and periods: exact at month and year boundaries, in UTC only."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal
from millrace.base.times import FIRST_YEAR, LAST_YEAR, day_of, month_of, parse_month, parse_time, render_time

FIRST = 0
LAST = int(datetime(LAST_YEAR, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * NS_PER_S
INSTANTS = st.integers(FIRST, LAST)


@given(INSTANTS.map(lambda instant: instant // 1000 * 1000))
def test_render_and_parse_are_inverse(instant: int) -> None:
    """A time of whole microseconds is parsed from its own text."""
    assert parse_time(render_time(instant), param="at") == instant


@given(INSTANTS, INSTANTS)
def test_the_texts_sort_like_the_instants(one: int, other: int) -> None:
    """Rendered times sort as the instants do, to the microsecond."""
    assert (render_time(one) <= render_time(other)) == (one // 1000 <= other // 1000)


@given(INSTANTS)
def test_an_instant_lies_in_its_month(instant: int) -> None:
    """The month of an instant holds it, is the one that its name parses to, and begins on a first day."""
    month = month_of(instant)
    assert month.start <= instant < month.end
    assert parse_month(month.name) == month
    assert render_time(instant).startswith(month.name)
    assert day_of(month.start) == f"{month.name}-01"


@given(st.integers(FIRST_YEAR, LAST_YEAR - 1), st.integers(1, 12))
def test_months_leave_no_gap(year: int, month: int) -> None:
    """The end of a month is the start of the next, in December too."""
    period = parse_month(f"{year}-{month:02d}")
    assert month_of(period.end).start == period.end
    assert month_of(period.end - 1) == period


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("2026-11-23", "2026-11-23T00:00:00.000000Z"),
        ("2026-11-23T08:00:00Z", "2026-11-23T08:00:00.000000Z"),
        ("2026-11-23T08:00:00+08:00", "2026-11-23T00:00:00.000000Z"),
        ("2026-11-23 08:00:00.5z", "2026-11-23T08:00:00.500000Z"),
        ("2024-02-29", "2024-02-29T00:00:00.000000Z"),
    ],
)
def test_a_date_or_a_time_with_its_zone_is_an_instant(text: str, rendered: str) -> None:
    """A date is midnight UTC; a time counts in its own zone."""
    assert render_time(parse_time(text, param="from")) == rendered


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-13-01", "2025-02-29", "20261123", "2026-W48-1", "2026-11-23T25:00:00Z", "x" * 99],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Everything else is refused with an example, naming the parameter."""
    with pytest.raises(Refusal, match="such as 2026-11-23 or") as caught:
        parse_time(text, param="from")
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_REQUEST, "from")


def test_a_time_without_its_zone_is_refused() -> None:
    """A bill must not depend on where somebody sits."""
    with pytest.raises(Refusal, match="lacks its time zone"):
        parse_time("2026-11-23T08:00:00", param="from")


@pytest.mark.parametrize("text", ["9999-12-31", "1969-12-31", "0001-01-01"])
def test_a_time_that_no_column_holds_is_refused(text: str) -> None:
    """A year whose nanoseconds do not fit 64 bits is refused here, not by the database."""
    with pytest.raises(Refusal, match="1970 to 2261"):
        parse_time(text, param="expires")


@pytest.mark.parametrize("text", ["", "2026", "2026-1", "2026-13", "2026-00", "2026-11-23", "26-11", "2026-W1"])
def test_what_is_no_month_is_refused(text: str) -> None:
    """A month is written in one way."""
    with pytest.raises(Refusal, match="is not a month such as 2026-11"):
        parse_month(text)


def test_the_last_month_of_all_is_refused_not_a_crash() -> None:
    """December of the year 9999 has no following month in Python; it is refused before that matters."""
    with pytest.raises(Refusal, match="too far away"):
        parse_month("9999-12")
