"""Minute limits in integers: what a bucket lets through, and what comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.base.clock import NS_PER_S, FakeClock
from millrace.base.errors import Refusal
from millrace.gateway.limiter import MINUTE_NS, Bucket, Limiter
from millrace.settings.limits import Limits
from millrace.tenants.values import Key, Scope


def a_key(*, rpm: int | None = None, tpm: int | None = None) -> Key:
    return Key(
        id="key_1", project_id="proj_1", scopes=frozenset(Scope), models=None, rpm=rpm, tpm=tpm, budget=None,
        created_at=0, revoked_at=None,
    )  # fmt: skip


@given(
    limit=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.integers(0, 90 * NS_PER_S), st.integers(1, 200)), max_size=60),
)
def test_no_span_lets_more_through_than_its_minutes_allow(limit: int, steps: list[tuple[int, int]]) -> None:
    """Over any run of t minutes at most (t + 1) times the limit gets through, exactly, whatever the pauses."""
    bucket, now, taken = Bucket(limit, 0), 0, 0
    for pause, units in steps:
        now += pause
        if units <= limit and bucket.wait_ns(units, now) == 0:
            bucket.take(units)
            taken += units
    assert taken * MINUTE_NS <= limit * (now + MINUTE_NS)


@given(limit=st.integers(1, 1000), units=st.integers(1, 1000))
def test_the_wait_that_is_said_is_the_wait_that_is_needed(limit: int, units: int) -> None:
    """After the wait the units are there; one nanosecond before they are not."""
    if units > limit:
        return
    bucket = Bucket(limit, 0)
    bucket.take(limit)
    wait = bucket.wait_ns(units, 0)
    assert bucket.wait_ns(units, wait - 1) > 0
    assert bucket.wait_ns(units, wait) == 0


def test_what_was_not_used_comes_back() -> None:
    """A permit released with fewer tokens than reserved gives the rest back to the minute."""
    limiter = Limiter(Limits(), FakeClock())
    key = a_key(tpm=100)
    limiter.admit(key, 100).release(10)
    limiter.admit(key, 90)
    with pytest.raises(Refusal) as refused:
        limiter.admit(key, 1)
    assert refused.value.limit == "tpm"


def test_a_refused_request_takes_nothing() -> None:
    """A request refused by tokens does not use up a request of the minute."""
    limiter = Limiter(Limits(), FakeClock())
    key = a_key(rpm=1, tpm=10)
    with pytest.raises(Refusal):
        limiter.admit(key, 11)
    limiter.admit(key, 10)
    assert limiter.in_flight == 1


def test_a_keys_places_are_its_own() -> None:
    """One key at its bound of running requests does not keep another from its own."""
    limiter = Limiter(Limits(requests_in_flight_per_key_max=1), FakeClock())
    permit = limiter.admit(a_key(), 1)
    with pytest.raises(Refusal) as refused:
        limiter.admit(a_key(), 1)
    assert refused.value.limit == "requests_in_flight_per_key"
    permit.release(0)
    limiter.admit(a_key(), 1)
