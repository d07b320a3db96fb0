"""The daily audit: at a time of day one of the servers that share the books audits them for all, in a process of its own.

A thread would share Python's interpreter with the requests and make each of them wait; a process at the lowest priority takes
only what the machine has left. A day that was missed, since no server ran at that time, is made up for by the next start.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.times import day_of
from millrace.gateway.metrics import Metrics
from millrace.money.audit import store
from millrace.store.database import Database

_log = logging.getLogger("millrace.audit")


class Place(Struct, frozen=True):
    """Where the books are: a file, or a URL, which may have a password in it."""

    file: str | None = None
    url: str | None = None

    @classmethod
    def of(cls, place: Path | str) -> "Place":
        return cls(file=str(place)) if isinstance(place, Path) else cls(url=place)

    def opened(self) -> Path | str:
        """What `schema.connect` takes."""
        return Path(self.file) if self.file is not None else self.url or ""


class Report(Struct, frozen=True):
    """What the process says of its audit. `failed` are the sentences of the checks that disagree."""

    rows: int
    since: int
    checks: int
    failed: tuple[str, ...]
    heads: str


Run = Callable[[], Awaitable[Report]]


class Nightly:
    """`turn` it every so often; it does something once a day. `at_s`: seconds after midnight UTC."""

    def __init__(self, db: Database, clock: Clock, metrics: Metrics, at_s: int, run: Run) -> None:
        self._db = db
        self._clock = clock
        self._metrics = metrics
        self._at_s = at_s
        self._run = run
        self._over = ""

    async def turn(self) -> None:
        """Audit if it is time and nobody else does. Raises what the audit could not be made for."""
        now = self._clock.now()
        day = day_of(now - self._at_s * NS_PER_S)
        if day == self._over:
            return
        if not await self._db.write(lambda tx: store.claim_day(tx, day, now)):
            if await self._db.look(lambda tx: store.is_over(tx, day)):
                self._over = day
            return
        began = self._clock.monotonic()
        try:
            report = await self._run()
        except BaseException:
            await asyncio.shield(self._db.write(lambda tx: store.put_off_day(tx, day, self._clock.now())))
            raise
        duration_ns = self._clock.monotonic() - began
        self._tell(report, duration_ns)
        await self._db.write(lambda tx: store.finish_day(tx, day, self._clock.now(), len(report.failed)))
        self._over = day

    def _tell(self, report: Report, duration_ns: int) -> None:
        self._metrics.audited(self._clock.now(), duration_ns, report.rows, len(report.failed))
        for sentence in report.failed:
            _log.error("the books do not agree: %s", sentence)
        _log.info(
            "audit ok=%d rows=%d since_mark=%d checks=%d failed=%d seconds=%.1f heads=%s",
            not report.failed, report.rows, report.since, report.checks, len(report.failed), duration_ns / NS_PER_S,
            report.heads,
        )  # fmt: skip
