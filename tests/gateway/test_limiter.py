"""Who is let in, what comes back, and what is left to the books to ask."""

import pytest

from millrace.base.clock import FakeClock
from millrace.base.errors import Refusal
from millrace.gateway.limiter import Limiter
from millrace.money.allowances.allowance import Rate
from millrace.settings.limits import Limits
from millrace.tenants.values import Key, Scope


def a_key(*, rpm: int | None = None, tpm: int | None = None) -> Key:
    return Key(
        id="key_1", project_id="proj_1", scopes=frozenset(Scope), models=None, rpm=rpm, tpm=tpm, budget=None,
        created_at=0, revoked_at=None,
    )  # fmt: skip


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


def test_shared_minutes_are_left_to_the_books() -> None:
    """Where several servers share the minutes, nothing is taken here: the permit says what the hold has to ask for."""
    limiter = Limiter(Limits(), FakeClock(), shared=True)
    key = a_key(rpm=1, tpm=100)
    permits = [limiter.admit(key, 80) for _ in range(3)]
    assert permits[0].rates == (Rate("key_1", "rpm", 1, 1), Rate("key_1", "tpm", 100, 80))
    assert permits[0].unused(30) == Rate("key_1", "tpm", 100, 50)
    assert permits[0].unused(80) is None
    assert Limiter(Limits(), FakeClock()).admit(key, 80).rates == ()
