"""A minute's units in integers: what a bucket lets through, and how long it says to wait."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.base.bucket import MINUTE_MS, Bucket


@given(
    limit=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 200)), max_size=60),
)
def test_no_span_lets_more_through_than_its_minutes_allow(limit: int, steps: list[tuple[int, int]]) -> None:
    """Over any run of t minutes at most (t + 1) times the limit gets through, exactly, whatever the pauses."""
    bucket, now, taken = Bucket.full(limit, 0), 0, 0
    for pause, units in steps:
        now += pause
        bucket.refill(now)
        if units <= limit and bucket.wait_ms(units) == 0:
            bucket.take(units)
            taken += units
    assert taken * MINUTE_MS <= limit * (now + MINUTE_MS)


@given(limit=st.integers(1, 1000), units=st.integers(1, 1000))
def test_the_wait_that_is_said_is_the_wait_that_is_needed(limit: int, units: int) -> None:
    """After the wait the units are there; one millisecond before they are not."""
    if units > limit:
        return
    bucket = Bucket.full(limit, 0)
    bucket.take(limit)
    wait = bucket.wait_ms(units)
    bucket.refill(wait - 1)
    assert bucket.wait_ms(units) > 0
    bucket.refill(wait)
    assert bucket.wait_ms(units) == 0


def test_a_clock_that_steps_back_gives_nothing_twice() -> None:
    """Time that has passed once does not refill again."""
    bucket = Bucket.full(60, 100_000)
    bucket.take(60)
    bucket.refill(101_000)
    bucket.refill(90_000)
    bucket.refill(101_000)
    assert bucket.level == 60 * 1_000
