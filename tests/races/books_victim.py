"""A process that bills streams until it is killed. It is forked from one that has everything imported, so births are cheap.

It serves its clients through a pipe: each chunk is one record, (kind, request, number), written whole. What the reader has read
is what the clients got. What the books have promised them (a hold, a settlement) is a record too.
"""

import asyncio
import enum
import os
import random
import struct
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import structs
from tests.money.house import payer, price_of

from millrace.base.clock import SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing.books import Books, _Served
from millrace.money.billing.handle import Hold
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.orders import Order
from millrace.money.billing.serving import serve
from millrace.money.metering.journal import RECORD_BYTES, Journal
from millrace.money.metering.usage import Status
from millrace.money.rating.book import PriceVersion
from millrace.schema import open_database
from millrace.store.database import Database
from millrace.store.transaction import Tx

RECORD: Final = struct.Struct("<c30sI")
INPUT_TOKENS: Final = 50
OUTPUT_BOUND: Final = 30
CHUNK_MAX: Final = 8
KEY_BUDGET: Final = 60 * NANO
"""What the keys with a budget may spend: some thousand requests, so that it runs out under way."""

SEGMENT_RECORDS: Final = 200
"""Small, so that kills fall into rotations too."""

EXPECTED: Final = frozenset({Reason.INSUFFICIENT_CREDIT, Reason.BUDGET_EXCEEDED, Reason.STORE_UNAVAILABLE})
"""What a client may be told here. Anything else is a bug, and ends the victim before its time."""


class Told(enum.Enum):
    """What a record says. The number: tokens the client has, or was billed for; of OPEN and FENCED, the epoch from here on."""

    NOT_NOW = b"n"  # the books cannot be opened: the database is away
    OPEN = b"o"
    HELD = b"h"
    GOT = b"g"
    SETTLED = b"s"
    FLUSHING = b"f"  # all that was told before is being brought to the database …
    FLUSHED = b"F"  # … and is there
    FENCED = b"x"


class Fault(enum.Enum):
    """What a victim does wrong on purpose, so that it is seen that somebody notices."""

    NONE = enum.auto()
    RELEASES_FIRST = enum.auto()
    BILLS_WHAT_IT_MADE = enum.auto()
    NEVER_FENCED = enum.auto()
    WRITES_BACK = enum.auto()  # a balance that it has read, as if nobody else wrote


class Berth(NamedTuple):
    """What a victim is born to."""

    place: str  # of the database
    home: Path
    seed: int
    shared: bool = False
    far: bool = False
    lease_s: float = 5.0
    streams: int = 30
    pace_s: float = 0.001
    """The longest wait between two chunks. Where it is long, a pause often falls between two transactions."""
    fault: Fault = Fault.NONE


class Victim:
    """One gateway's books, and the streams that they bill."""

    def __init__(self, berth: Berth, pipe: int) -> None:
        self._berth = berth
        self._pipe = pipe
        self._chance = random.Random(berth.seed)
        clock = SystemClock()
        self._ids = Ids(clock)
        self._db = open_database(berth.place)
        self._books = books_at(berth, self._db)
        self._price: PriceVersion

    async def open(self) -> None:
        await self._books.open()
        self._price = self._db.read(lambda tx: price_of(tx, "tiny"))
        self._tell(Told.OPEN, number=self._books.epoch)

    async def live(self) -> None:
        await asyncio.gather(self._keep_house(), *(self._stream() for _ in range(self._berth.streams)))

    async def _stream(self) -> None:
        while True:
            try:
                await self._request()
            except Refusal as refusal:
                if refusal.reason not in EXPECTED:
                    raise
                await asyncio.sleep(0.01)
            except TimeoutError:
                pass

    async def _request(self) -> None:
        """One client's: he may leave before the hold is made, or in the middle, or his task may be lost."""
        request_id = self._ids.new("req")
        asked = self._books.hold(request_id, self._who(), self._price, INPUT_TOKENS, OUTPUT_BOUND)
        hold = await (asyncio.wait_for(asked, self._chance.random() / 500) if self._happens(0.02) else asked)
        self._tell(Told.HELD, request_id)
        got, status = NO_TOKENS, Status.COMPLETED
        try:
            for _ in range(self._chance.randint(0, 12)):
                got = await self._release(hold, got)
                await asyncio.sleep(self._chance.choice((0, 0, self._berth.pace_s)))
        except Refusal as refusal:
            if refusal.reason not in EXPECTED:
                raise
            status = Status.FAILED
        if self._happens(0.03):
            return  # the sweeper's
        if self._berth.fault is Fault.BILLS_WHAT_IT_MADE:
            got = TokenCounts(INPUT_TOKENS, 0, got.output + 1, 0)
        usage = await self._books.settle(hold, Outcome(status=status, counts=got, counted_by=CountedBy.ENGINE))
        if self._berth.fault is Fault.WRITES_BACK:
            await self._write_back()
        self._tell(Told.SETTLED, request_id, usage.tokens.input + usage.tokens.output)

    async def _release(self, hold: Hold, got: TokenCounts) -> TokenCounts:
        """In the order of the gateway: room, lease, journal, client, journal."""
        output = got.output + self._chance.randint(1, CHUNK_MAX)
        if output > hold.output_bound:
            await self._books.extend(hold, hold.output_bound + 40)
        if not self._books.may_release:
            await self._books.renewed()
        counts = TokenCounts(INPUT_TOKENS, 0, output, 0)
        if self._berth.fault is Fault.RELEASES_FIRST:
            self._tell(Told.GOT, hold.request_id, INPUT_TOKENS + output)
            await asyncio.sleep(0)
        self._books.progress(hold, counts, got, CountedBy.ENGINE)
        self._tell(Told.GOT, hold.request_id, INPUT_TOKENS + output)
        if self._happens(0.9):
            self._books.confirm(hold, counts, CountedBy.ENGINE)
        return counts

    async def _write_back(self) -> None:
        read = self._db.read(lambda tx: tx.rows("SELECT debits_posted FROM account WHERE id = 'grant/gr_bolt'"))[0][0]
        await asyncio.sleep(0.001)
        await self._db.write(
            lambda tx: tx.run("UPDATE account SET debits_posted = :read WHERE id = 'grant/gr_bolt'", read=read)
        )

    def _who(self) -> Payer:
        """acme has many small grants, bolt owes, mole lives from hand to mouth."""
        who = payer(self._chance.choice(("acme", "acme", "bolt", "mole")), budget=self._happens(0.3))
        return who if who.budget is None else structs.replace(who, budget=KEY_BUDGET)

    async def _keep_house(self) -> None:
        tick, fenced = self._berth.lease_s / 50, 0
        for number in range(2**63):
            await asyncio.sleep(tick)
            await self._chore(number)
            if self._books.fenced > fenced:
                fenced = self._books.fenced
                self._tell(Told.FENCED, number=self._books.epoch)

    async def _chore(self, number: int) -> None:
        """As the gateway's own, only more often. A database that is away is no end of them."""
        if self._berth.fault is Fault.NEVER_FENCED:
            return
        try:
            if self._berth.shared:
                await self._books.tend()
            if self._berth.far:
                self._tell(Told.FLUSHING)
                await self._books.flush()
                self._tell(Told.FLUSHED)
            if number % 5 == 0:
                await self._books.sweep()
                await asyncio.to_thread(self._books.sync_journal)
        except Refusal as refusal:
            if refusal.reason is not Reason.STORE_UNAVAILABLE:
                raise

    def _happens(self, chance: float) -> bool:
        return self._chance.random() < chance

    def _tell(self, what: Told, request_id: str = "", number: int = 0) -> None:
        tell(self._pipe, what, request_id, number)


def books_at(berth: Berth, db: Database) -> Books:
    make = NeverFenced if berth.fault is Fault.NEVER_FENCED else Books
    return make(
        db, berth.home / "journal", SystemClock(), shared=berth.shared, far=berth.far, journal=_small_journal,
        lease_ns=round(berth.lease_s * NANO),
    )  # fmt: skip


class NeverFenced(Books):
    """Neither renews its lease nor looks whether somebody took it over before it writes or releases anything."""

    @property
    def may_release(self) -> bool:
        return True

    def _serve(self, tx: Tx, orders: list[Order]) -> list[_Served | Exception]:
        now = self._clock.monotonic()
        ours = self._ours._replace(taken=self._succession.taken)
        answers = serve(tx, orders, ours, tx.now(self._clock.now()))
        return [answer if isinstance(answer, Exception) else _Served(answer, now) for answer in answers]


def live(berth: Berth, pipe: int) -> None:
    """What a victim does until it is killed."""
    asyncio.run(_live(berth, pipe))


async def _live(berth: Berth, pipe: int) -> None:
    try:
        victim = Victim(berth, pipe)
        await victim.open()
    except Refusal as refusal:
        if refusal.reason is not Reason.STORE_UNAVAILABLE:
            raise
        tell(pipe, Told.NOT_NOW)
        return
    await victim.live()


def tell(pipe: int, what: Told, request_id: str = "", number: int = 0) -> None:
    os.write(pipe, RECORD.pack(what.value, request_id.encode(), number))


def _small_journal(folder: Path, epoch: int) -> Journal:
    return Journal(folder, epoch, SEGMENT_RECORDS * RECORD_BYTES)
