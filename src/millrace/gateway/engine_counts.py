"""What engines say that they made, counted apart from the books: by model and UTC day, in memory between two flushes.

Usage rows are held against it (`millrace reconcile`, `millrace audit`). A kill loses what came since the last flush; the usage
of a server that was killed may so be more than its engines' counts, which is shown, and is no fault.
"""

from collections import defaultdict
from typing import NamedTuple

from millrace.base.clock import Clock
from millrace.base.times import day_of
from millrace.generation.chunk import TokenCounts
from millrace.money.metering import store
from millrace.store.database import Database


class Tally:
    """The most that an engine said of one request: an estimate that it takes back was handed out all the same."""

    __slots__ = ("input", "model", "output", "told")

    def __init__(self, model: str) -> None:
        self.model = model
        self.input = 0
        self.output = 0
        self.told = (0, 0, 0)
        """Requests (0 or 1), input and output that are in the sums already."""

    def see(self, counts: TokenCounts) -> None:
        if counts.input > self.input:
            self.input = counts.input
        if counts.output > self.output:
            self.output = counts.output


class Made(NamedTuple):
    """Of one model on one day."""

    model: str
    day: str


class EngineCounts:
    """Of one server. `begin` and `end` around each request, `flush` every now and then and before the books close."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: set[Tally] = set()
        self._sums: dict[Made, list[int]] = defaultdict(lambda: [0, 0, 0])

    def begin(self, tally: Tally) -> None:
        self._running.add(tally)

    def end(self, tally: Tally) -> None:
        self._running.discard(tally)
        self._add(tally, day_of(self._clock.now()))

    async def flush(self, db: Database, epoch: int) -> None:
        """Bring what came since to the database; what it refuses is kept for the next time."""
        day = day_of(self._clock.now())
        for tally in self._running:
            self._add(tally, day)
        taken, self._sums = self._sums, defaultdict(lambda: [0, 0, 0])
        rows = [
            (made.model, made.day, requests, input_, output)
            for made, (requests, input_, output) in taken.items()
            if requests or input_ or output
        ]
        if not rows:
            return
        try:
            await db.write(lambda tx: store.count_made(tx, epoch, rows))
        except BaseException:
            for made, sums in taken.items():
                self._sums[made] = [one + other for one, other in zip(self._sums[made], sums, strict=True)]
            raise

    def _add(self, tally: Tally, day: str) -> None:
        now = (1 if tally.input or tally.output else 0, tally.input, tally.output)
        sums = self._sums[Made(tally.model, day)]
        for place, (one, told) in enumerate(zip(now, tally.told, strict=True)):
            sums[place] += one - told
        tally.told = now
