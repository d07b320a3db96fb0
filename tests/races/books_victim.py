"""A process that bills streams until it is killed; started by test_kill_books, one line of its own at a time.

It serves its clients through standard output: each chunk is one record, (request, output tokens so far), written whole.
What the reader has read is what the clients got.
"""

import asyncio
import os
import random
import struct
import sys
from pathlib import Path
from typing import Final

from msgspec import structs
from tests.money.house import payer, price_of

from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.hold import Outcome
from millrace.money.metering.journal import RECORD_BYTES, Journal
from millrace.money.metering.usage import Status
from millrace.store.database import Database

CHUNK: Final = struct.Struct("<30sI")
INPUT_TOKENS: Final = 50
STREAMS: Final = 40
WIDE_BUDGET: Final = 10**6 * NANO
SEGMENT_RECORDS: Final = 200
"""Small, so that kills fall into rotations too."""


async def serve(folder: Path) -> None:
    clock = SystemClock()
    ids = Ids(clock)
    db = Database(folder / "millrace.db")
    books = Books(db, folder / "journal", clock, journal=_small_journal)
    await books.open()
    price = db.read(lambda tx: price_of(tx, "tiny"))

    async def stream() -> None:
        while True:
            who = payer(random.choice(("acme", "bolt")), budget=random.random() < 0.3)
            if who.budget is not None:
                who = structs.replace(who, budget=WIDE_BUDGET)
            request_id = ids.new("req")
            hold = await books.hold(request_id, who, price, INPUT_TOKENS, 30)
            got = NO_TOKENS
            for _ in range(random.randint(0, 12)):
                output = got.output + random.randint(1, 8)
                if output > hold.output_bound:
                    await books.extend(hold, hold.output_bound + 40)
                counts = TokenCounts(INPUT_TOKENS, 0, output, 0)
                books.progress(hold, counts, got, CountedBy.ENGINE)
                os.write(sys.stdout.fileno(), CHUNK.pack(request_id.encode(), output))
                got = counts
                await asyncio.sleep(random.choice((0, 0, 0.001)))
            await books.settle(hold, Outcome(status=Status.COMPLETED, counts=got, counted_by=CountedBy.ENGINE))

    async def keep_house() -> None:
        while True:
            await asyncio.sleep(0.01)
            await books.sweep()
            await asyncio.to_thread(books.sync_journal)

    await asyncio.gather(keep_house(), *(stream() for _ in range(STREAMS)))


def _small_journal(folder: Path, epoch: int) -> Journal:
    return Journal(folder, epoch, SEGMENT_RECORDS * RECORD_BYTES)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
