"""Keeps the roll-ups up to date: looks what is closed and adds it, a bounded step at a time."""

from millrace.money.rollups import store
from millrace.money.rollups.store import STEP_ROWS, Horizon
from millrace.store.database import Database


class Roller:
    """One of them in each server; they do not get in each other's way. Used from one thread."""

    def __init__(self, db: Database, *, step_rows: int = STEP_ROWS) -> None:
        self._db = db
        self._step_rows = step_rows
        self._seen: Horizon | None = None

    def roll(self) -> int:
        """Roll up all that is closed; returns up to where. Blocks: from an event loop, in a thread.

        What is being written while it looks, it takes the next time.
        """
        closed = self._closed()
        while step := self._db.read(lambda tx: store.next_step(tx, closed, self._step_rows)):
            self._db.write_now(lambda tx, step=step: store.add(tx, step))  # type: ignore[misc]
        return closed

    def _closed(self) -> int:
        """The horizon seen now where it is closed at once, as it is where nobody writes, or else an earlier one that is by now.
        """
        now = self._db.read(store.horizon)
        if self._db.read(lambda tx: store.is_closed(tx, now)):
            self._seen = None
            return now.seq
        seen, self._seen = self._seen, self._seen or now
        if seen is None or not self._db.read(lambda tx: store.is_closed(tx, seen)):
            return self._db.read(store.cursor)
        self._seen = now
        return seen.seq
