"""Requests and tokens per minute, and requests in flight: exact for one process, in integers, without a clock of its own.

A minute's limit is a bucket that refills evenly: after a pause the whole minute's worth may come at once, and over any
span of t minutes at most (t + 1) times the limit gets through. Tokens are taken at admission at the most that the request
can use; what it did not use goes back when it ends.
"""

from collections import OrderedDict
from typing import Final

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.settings.limits import Limits
from millrace.tenants.values import Key

MINUTE_NS: Final = 60 * NS_PER_S

BUCKETS_MAX: Final = 100_000
"""Keys whose buckets are kept, the longest unused go first; a bucket that is forgotten is full again."""


class Bucket:
    """`limit` units a minute. The level is kept in units × nanoseconds, so refilling loses nothing to rounding."""

    def __init__(self, limit: int, now: int) -> None:
        self.limit = limit
        self._level = limit * MINUTE_NS
        self._at = now

    def wait_ns(self, units: int, now: int) -> int:
        """Nanoseconds until that many units are there; 0: now. Units above the limit never are: ask before."""
        self._refill(now)
        missing = units * MINUTE_NS - self._level
        return 0 if missing <= 0 else -(-missing // self.limit)

    def take(self, units: int) -> None:
        self._level -= units * MINUTE_NS

    def give_back(self, units: int) -> None:
        self._level = min(self._level + units * MINUTE_NS, self.limit * MINUTE_NS)

    def _refill(self, now: int) -> None:
        elapsed = max(0, now - self._at)
        self._at = now
        self._level = min(self._level + elapsed * self.limit, self.limit * MINUTE_NS)


class Permit:
    """A place among the running requests. Give it back once, with the tokens that were really used."""

    def __init__(self, limiter: "Limiter", key_id: str, tokens: Bucket | None, reserved: int) -> None:
        self._limiter = limiter
        self._key_id = key_id
        self._tokens = tokens
        self._reserved = reserved

    def release(self, used: int) -> None:
        self._limiter.leave(self._key_id)
        if self._tokens is not None and used < self._reserved:
            self._tokens.give_back(self._reserved - used)


class Limiter:
    """Admits requests of all keys, or says 429 with the limit that was met and when to come back."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._in_flight: dict[str, int] = {}
        self._total = 0
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    @property
    def in_flight(self) -> int:
        return self._total

    def admit(self, key: Key, tokens: int) -> Permit:
        """Take a place, a request and `tokens` of the key's minute. Nothing is taken when it raises RATE_LIMIT_EXCEEDED."""
        self._refuse_concurrency(key)
        now = self._clock.monotonic()
        requests = self._bucket(key.id, "rpm", key.rpm, now)
        budget = self._bucket(key.id, "tpm", key.tpm, now)
        _refuse_rate(requests, 1, now, "rpm", "requests per minute")
        _refuse_rate(budget, tokens, now, "tpm", "tokens per minute")
        # From here on the request is admitted.
        if requests is not None:
            requests.take(1)
        if budget is not None:
            budget.take(tokens)
        self._total += 1
        self._in_flight[key.id] = self._in_flight.get(key.id, 0) + 1
        return Permit(self, key.id, budget, tokens)

    def leave(self, key_id: str) -> None:
        self._total -= 1
        left = self._in_flight[key_id] - 1
        if left:
            self._in_flight[key_id] = left
        else:
            del self._in_flight[key_id]

    def _refuse_concurrency(self, key: Key) -> None:
        if self._total >= self._limits.requests_in_flight_max:
            raise _too_many("requests_in_flight", f"this server runs {self._limits.requests_in_flight_max} requests at once")
        if self._in_flight.get(key.id, 0) >= self._limits.requests_in_flight_per_key_max:
            most = self._limits.requests_in_flight_per_key_max
            raise _too_many("requests_in_flight_per_key", f"a key runs {most} requests at once")

    def _bucket(self, key_id: str, name: str, limit: int | None, now: int) -> Bucket | None:
        if limit is None:
            return None
        bucket = self._buckets.get((key_id, name))
        if bucket is None or bucket.limit != limit:
            bucket = self._buckets[key_id, name] = Bucket(limit, now)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end((key_id, name))
        return bucket


def _refuse_rate(bucket: Bucket | None, units: int, now: int, name: str, words: str) -> None:
    if bucket is None:
        return
    if units > bucket.limit:
        raise Refusal(
            Reason.RATE_LIMIT_EXCEEDED,
            f"this request can use {units} tokens and the key has {bucket.limit} {words}: it never fits; "
            "ask for fewer tokens (max_tokens) or for a higher limit",
            limit=name,
            retry_after_s=60,
        )
    wait_ns = bucket.wait_ns(units, now)
    if wait_ns:
        seconds = -(-wait_ns // NS_PER_S)
        raise Refusal(
            Reason.RATE_LIMIT_EXCEEDED,
            f"the key's limit of {bucket.limit} {words} is used up; come back in {seconds} s",
            limit=name,
            retry_after_s=seconds,
        )


def _too_many(limit: str, sentence: str) -> Refusal:
    return Refusal(Reason.RATE_LIMIT_EXCEEDED, f"{sentence}; come back in 1 s", limit=limit, retry_after_s=1)
