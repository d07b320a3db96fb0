"""A gateway with a crowd of callers who all want what only some can have; in a process of its own.

It tells through its pipe what each of them came to: one letter. Whoever is told to try again does.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final, NamedTuple

from tests.money.house import payer, price_of

from millrace.base.clock import SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.hold import Outcome
from millrace.money.metering.usage import Status
from millrace.money.rating.book import PriceVersion
from millrace.schema import open_database

INPUT: Final = 50
OUTPUT: Final = 30
OPEN: Final = b"o"
ADMITTED: Final = b"a"
REFUSED: Final = b"r"
TOLD_TO_WAIT: Final = b"w"
AT_ONCE: Final = 12
"""Callers of a server that ask in the same moment: few, so that the servers take turns with the credit."""

WARM_UP: Final = 60
TEND_S: Final = 0.02
AGAIN_S: Final = 0.01


class Crowd(NamedTuple):
    """`go` is a file: when it is there, all ask at once."""

    place: str
    home: Path
    callers: int
    go: Path
    shared: bool = False
    far: bool = False


def call(crowd: Crowd, pipe: int) -> None:
    """Until everybody was admitted or refused and the file is gone again: a server that is there gives back what it has."""
    asyncio.run(_call(crowd, pipe))


async def _call(crowd: Crowd, pipe: int) -> None:
    db = open_database(crowd.place)
    books = Books(db, crowd.home / "journal", SystemClock(), shared=crowd.shared, far=crowd.far)
    await books.open()
    tending = asyncio.create_task(_tend(books))
    price = db.read(lambda tx: price_of(tx, "tiny"))
    ids, turns = Ids(SystemClock()), asyncio.Semaphore(AT_ONCE)
    await books.tend()
    await asyncio.gather(*(_warm_up(books, price, ids.new("req")) for _ in range(WARM_UP)))
    os.write(pipe, OPEN)
    while not crowd.go.exists():
        await asyncio.sleep(0.005)
    await asyncio.gather(*(_caller(books, price, ids.new("req"), turns, pipe) for _ in range(crowd.callers)))
    while crowd.go.exists():
        await asyncio.sleep(0.005)
    tending.cancel()
    await books.close()
    db.close()


async def _caller(books: Books, price: PriceVersion, request_id: str, turns: asyncio.Semaphore, pipe: int) -> None:
    while True:
        try:
            async with turns:
                hold = await books.hold(request_id, payer("acme"), price, INPUT, OUTPUT)
        except Refusal as refusal:
            if refusal.reason is Reason.INSUFFICIENT_CREDIT:
                os.write(pipe, REFUSED)
                return
            if refusal.reason is not Reason.STORE_UNAVAILABLE:
                raise
            os.write(pipe, TOLD_TO_WAIT)
            await asyncio.sleep(AGAIN_S)
            continue
        counts = TokenCounts(INPUT, 0, OUTPUT, 0)
        await books.settle(hold, Outcome(status=Status.COMPLETED, counts=counts, counted_by=CountedBy.ENGINE))
        os.write(pipe, ADMITTED)
        return


async def _warm_up(books: Books, price: PriceVersion, request_id: str) -> None:
    """A request that comes to nothing, so that the tenant is busy here and a slice of the credit lies here when it begins."""
    with contextlib.suppress(Refusal):
        hold = await books.hold(request_id, payer("acme"), price, INPUT, OUTPUT)
        await books.settle(hold, Outcome(status=Status.CANCELLED, counts=NO_TOKENS, counted_by=CountedBy.ENGINE))


async def _tend(books: Books) -> None:
    while True:
        await books.tend()
        await books.flush()
        await books.sweep()
        await asyncio.sleep(TEND_S)
