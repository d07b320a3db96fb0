"""A limit of so many units a minute, as a bucket that refills evenly: pure, in integers, for whoever keeps its level.

After a pause the whole minute's worth may come at once, and over any span of t minutes at most (t + 1) times the limit gets
through. Levels are units × milliseconds, so refilling loses nothing to rounding and a level fits 64 bits.
"""

from typing import Final

from msgspec import Struct

MINUTE_MS: Final = 60_000

NS_PER_MS: Final = 1_000_000

LIMIT_MAX: Final = 10**13
"""A level of it still fits 63 bits; a hundred times what any machine serves in a minute."""


class Bucket(Struct):
    """What is left of a minute. `at` is the time of the level, milliseconds of whatever clock the keeper has."""

    limit: int
    level: int
    at: int

    @classmethod
    def full(cls, limit: int, now: int) -> "Bucket":
        return cls(limit, limit * MINUTE_MS, now)

    def refill(self, now: int) -> None:
        elapsed = max(0, now - self.at)
        self.at = max(now, self.at)
        self.level = min(self.level + elapsed * self.limit, self.limit * MINUTE_MS)

    def wait_ms(self, units: int) -> int:
        """Milliseconds until that many units are there; 0: now. Units above the limit never are: ask before."""
        missing = units * MINUTE_MS - self.level
        return 0 if missing <= 0 else -(-missing // self.limit)

    def take(self, units: int) -> None:
        self.level -= units * MINUTE_MS

    def give_back(self, units: int) -> None:
        self.level = min(self.level + units * MINUTE_MS, self.limit * MINUTE_MS)
