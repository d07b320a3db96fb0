"""The daily upkeep of usage: export it, and delete what `[retention]` says is old enough, in a process of its own.

Its reason is the audit's (nightly.py): what takes a core for minutes must not share an interpreter with requests. Done twice,
it finds nothing to do, so each server that has the setting does it once a day and after its start; they take turns.
"""

import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.times import day_of
from millrace.gateway.nightly import Place

_log = logging.getLogger("millrace.retention")


class Task(Struct, frozen=True):
    """Where the books and the exports are, and how long usage is kept."""

    place: Place
    folder: str
    usage_days: int


class Report(Struct, frozen=True):
    """What the process did: files written, requests deleted, and why the next that are old enough were not."""

    exported: int
    dropped: int
    kept: str = ""


Run = Callable[[], Awaitable[Report]]


class Upkeep:
    """`turn` it every so often; it does something once a day."""

    def __init__(self, clock: Clock, run: Run) -> None:
        self._clock = clock
        self._run = run
        self._over = ""

    async def turn(self) -> None:
        """Raises what the upkeep could not be done for; then the next turn tries again."""
        day = day_of(self._clock.now())
        if day == self._over:
            return
        report = await self._run()
        self._over = day
        _log.info("retention files=%d deleted=%d", report.exported, report.dropped)
        if report.kept:
            _log.warning("usage that is old enough was kept: %s", report.kept)
