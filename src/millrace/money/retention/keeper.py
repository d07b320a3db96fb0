"""Deletes what need not be kept: whole exported ranges, old enough, rolled up, in a file that was just read, and settled.

A range goes in steps, each of them a transaction, and a kill between two of them is nothing: the next run goes on.
"""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from millrace.base.times import month_of
from millrace.money.retention import store
from millrace.money.retention.exporter import Exporter, Progress
from millrace.money.retention.store import Range
from millrace.money.retention.values import Export
from millrace.money.rollups import store as rollups
from millrace.store.database import Database

DAY_NS: Final = 86_400_000_000_000

STEP_ROWS: Final = 500
"""Rows deleted in one transaction, which takes 20 ms: what a request waits for at most."""

PAUSE_S: Final = 0.02
"""Between two of them: half of the time the writer is there for requests alone."""


def _pause() -> None:
    time.sleep(PAUSE_S)


class Kept(Struct, frozen=True):
    """Why a range that is old enough is still there."""

    export: Export
    why: str


class Dropped(Struct, frozen=True):
    """What a run did: ranges that are gone now, and the first that had to stay, behind which nothing was looked at."""

    exports: tuple[Export, ...] = ()
    kept: Kept | None = None

    @property
    def requests(self) -> int:
        return sum(export.requests for export in self.exports)


class Keeper:
    """Of one database whose exports lie in the exporter's folder."""

    def __init__(
        self, db: Database, exporter: Exporter, *, step_rows: int = STEP_ROWS, pause: Callable[[], object] = _pause
    ) -> None:
        self._db = db
        self._exporter = exporter
        self._step_rows = step_rows
        self._pause = pause

    def run(self, usage_days: int, now: int, progress: Progress) -> Dropped:
        """Drop what finished more than so many days ago, in months that are over. Blocks."""
        before = min(now - usage_days * DAY_NS, month_of(now).start)
        dropped: list[Export] = []
        drops = self._db.read(store.drops)
        for export in self._db.read(store.exports):
            after = drops.get(export.seq_lo)
            if after == export.seq_hi:
                continue
            if export.finished_hi >= before:
                break
            why = self._why_kept(export) if after is None else None
            if why is None:
                why = self._drop(export, after, now, progress)
            if why is not None:
                return Dropped(tuple(dropped), Kept(export, why))
            dropped.append(export)
        return Dropped(tuple(dropped))

    def _why_kept(self, export: Export) -> str | None:
        if self._db.read(store.last_seq) <= export.seq_hi:
            return "it has the latest requests of all"  # SQLite counts on from the greatest number that is there
        if self._db.read(rollups.cursor) < export.seq_hi:
            return "it is not rolled up yet"
        request_id = self._db.read(lambda tx: store.not_settled(tx, Range(export.seq_lo, export.seq_hi)))
        if request_id is not None:
            month = month_of(export.finished_hi).name
            return f"request {request_id} in it is not invoiced yet; run the invoices up to {month}"
        return self._exporter.verify(export)

    def _drop(self, export: Export, after: int | None, now: int, progress: Progress) -> str | None:
        if after is None:
            self._db.write_now(lambda tx: store.begin_drop(tx, export, now))
            after = export.seq_lo - 1
        while after < export.seq_hi:
            gone = self._db.write_now(lambda tx, after=after: store.drop(tx, export, after, self._step_rows))  # type: ignore[misc]
            if gone is None:
                return "a request in it is to be invoiced again, or another server deletes it"
            after = gone
            self._pause()
            progress(f"{export.file}: {after - export.seq_lo + 1:,} of {export.seq_hi - export.seq_lo + 1:,}")
        return None
