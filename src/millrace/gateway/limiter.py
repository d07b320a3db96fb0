"""Requests and tokens per minute, and requests in flight.

A minute's limit is a bucket (base/bucket.py). Tokens are taken at admission at the most that the request can use; what it did
not use goes back when it ends. Where several servers share a database, the buckets lie there: they are asked with the hold,
and this only says what to ask for. Requests in flight are this process's own.
"""

from collections import OrderedDict
from typing import Final

from msgspec import structs

from millrace.base.bucket import LIMIT_MAX, NS_PER_MS, Bucket
from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.money.allowances.allowance import Rate, refuse_rate
from millrace.settings.limits import Limits
from millrace.tenants.values import Key

BUCKETS_MAX: Final = 100_000
"""Keys whose buckets are kept, the longest unused go first; a bucket that is forgotten is full again."""


class Permit:
    """A place among the running requests. Give it back once, with the tokens that were really used.

    `rates` is what is still to be taken of the key's minute, with the hold.
    """

    def __init__(
        self, limiter: "Limiter", key_id: str, tokens: Bucket | None, reserved: int, rates: tuple[Rate, ...]
    ) -> None:
        self.rates = rates
        self._limiter = limiter
        self._key_id = key_id
        self._tokens = tokens
        self._reserved = reserved

    def unused(self, used: int) -> Rate | None:
        """What goes back to the shared minute with the settlement."""
        for rate in self.rates:
            if rate.name == "tpm" and used < self._reserved:
                return structs.replace(rate, units=self._reserved - used)
        return None

    def release(self, used: int) -> None:
        self._limiter.leave(self._key_id)
        if self._tokens is not None and used < self._reserved:
            self._tokens.give_back(self._reserved - used)


class Limiter:
    """Admits requests of all keys, or says 429 with the limit that was met and when to come back."""

    def __init__(self, limits: Limits, clock: Clock, *, shared: bool = False) -> None:
        self._limits = limits
        self._clock = clock
        self._shared = shared
        self._in_flight: dict[str, int] = {}
        self._total = 0
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    @property
    def in_flight(self) -> int:
        return self._total

    def admit(self, key: Key, tokens: int) -> Permit:
        """Take a place, a request and `tokens` of the key's minute. Nothing is taken when it raises RATE_LIMIT_EXCEEDED."""
        self._refuse_concurrency(key)
        rates = _rates(key, tokens)
        buckets = [] if self._shared or not rates else self._buckets_of(rates)
        for rate, bucket in zip(rates, buckets, strict=False):
            refusal = refuse_rate(bucket, rate)
            if refusal is not None:
                raise refusal
        # From here on the request is admitted.
        for rate, bucket in zip(rates, buckets, strict=False):
            bucket.take(rate.units)
        self._take_place(key)
        by_tokens = buckets[-1] if buckets and rates[-1].name == "tpm" else None
        return Permit(self, key.id, by_tokens, tokens, rates if self._shared else ())

    def enter(self, key: Key) -> None:
        """Take a place and nothing else, for a request that waits for another one; `leave` gives it back."""
        self._refuse_concurrency(key)
        self._take_place(key)

    def leave(self, key_id: str) -> None:
        self._total -= 1
        left = self._in_flight[key_id] - 1
        if left:
            self._in_flight[key_id] = left
        else:
            del self._in_flight[key_id]

    def _take_place(self, key: Key) -> None:
        self._total += 1
        self._in_flight[key.id] = self._in_flight.get(key.id, 0) + 1

    def _refuse_concurrency(self, key: Key) -> None:
        if self._total >= self._limits.requests_in_flight_max:
            raise _too_many("requests_in_flight", f"this server runs {self._limits.requests_in_flight_max} requests at once")
        if self._in_flight.get(key.id, 0) >= self._limits.requests_in_flight_per_key_max:
            most = self._limits.requests_in_flight_per_key_max
            raise _too_many("requests_in_flight_per_key", f"a key runs {most} requests at once")

    def _buckets_of(self, rates: tuple[Rate, ...]) -> list[Bucket]:
        """The buckets, refilled to this moment. A limit that was changed begins with a full minute."""
        now = self._clock.monotonic() // NS_PER_MS
        found = []
        for rate in rates:
            bucket = self._buckets.get((rate.key_id, rate.name))
            if bucket is None or bucket.limit != rate.limit:
                bucket = self._buckets[rate.key_id, rate.name] = Bucket.full(rate.limit, now)
                if len(self._buckets) > BUCKETS_MAX:
                    self._buckets.popitem(last=False)
            self._buckets.move_to_end((rate.key_id, rate.name))
            bucket.refill(now)
            found.append(bucket)
        return found


def _rates(key: Key, tokens: int) -> tuple[Rate, ...]:
    """What a request of that many tokens takes of its key's minute."""
    rates = []
    if key.rpm is not None:
        rates.append(Rate(key.id, "rpm", min(key.rpm, LIMIT_MAX), 1))
    if key.tpm is not None:
        rates.append(Rate(key.id, "tpm", min(key.tpm, LIMIT_MAX), tokens))
    return tuple(rates)


def _too_many(limit: str, sentence: str) -> Refusal:
    return Refusal(Reason.RATE_LIMIT_EXCEEDED, f"{sentence}; come back in 1 s", limit=limit, retry_after_s=1)
