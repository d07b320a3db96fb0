"""Time as a value that is passed in. Instants are integers: nanoseconds since 1970-01-01T00:00:00Z."""

import asyncio
import time
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Where a room gets its time from; nothing else in the house reads the clock."""

    def now(self) -> int:
        """The wall clock, nanoseconds since the epoch, UTC.

        May step back: compare instants, never measure with them.
        """
        ...

    def monotonic(self) -> int:
        """Nanoseconds from an arbitrary start, the same for all processes of a machine, that never go back: for durations
        and deadlines.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Return no sooner than `seconds` from now."""
        ...


_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where there is such a clock: a lease ends for a laptop that was shut, too."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns()

    def monotonic(self) -> int:
        return time.clock_gettime_ns(_MONOTONIC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that moves only when told: `advance` moves it, `sleep` advances by what was asked and yields once.

    A negative advance steps the wall clock back, as a real one may; the monotonic clock stays where it is.
    """

    def __init__(self, now: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now = now
        self._monotonic = 0

    def now(self) -> int:
        return self._now

    def monotonic(self) -> int:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        step = round(seconds * NS_PER_S)
        self._now += step
        self._monotonic += max(step, 0)

    async def sleep(self, seconds: float) -> None:
        self.advance(max(seconds, 0))
        await asyncio.sleep(0)
