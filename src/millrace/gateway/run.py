"""One running request: what of it is written down, what has surely left, and how it can be ended."""

import asyncio

from millrace.gateway.engine_counts import Tally
from millrace.gateway.exchange import Exchange
from millrace.gateway.interrupt import Cause, Interrupt
from millrace.gateway.repetition import Keyed
from millrace.gateway.rolling import Rolling
from millrace.generation.chunk import NO_TOKENS, Chunk, CountedBy, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.handle import Hold
from millrace.money.billing.hold import Outcome
from millrace.money.metering.usage import Status


class Run:
    """Between hold and settlement. Counts only ever describe what the client was sent, in the order it was sent."""

    def __init__(self, exchange: Exchange, books: Books, hold: Hold, rolling: Rolling, keyed: Keyed | None) -> None:
        self.exchange = exchange
        self.hold = hold
        self.rolling = rolling
        self.keyed = keyed
        self.interrupt = Interrupt()
        self.settled = asyncio.Event()
        self.made = Tally(hold.model)
        self._books = books
        self._recorded = NO_TOKENS
        self._confirmed = NO_TOKENS
        self._counted_by = CountedBy.ENGINE

    async def release(self, frame: bytes, chunk: Chunk) -> bool:
        """Write down what the frame brings the request to, send it, and note that it left. False: the client is gone."""
        await self.rolling.cover(chunk.counts.output)
        await self.until_releasable()
        self.record(chunk.counts, chunk.counted_by)
        if not await self.exchange.write(frame):
            return False
        self.confirm()
        if self.keyed is not None:
            self.keyed.keep(frame)
        return True

    async def until_releasable(self) -> None:
        """Return when nobody can have taken this server over. Raises STORE_UNAVAILABLE when the database is away for long."""
        if not self._books.may_release:
            await self._books.renewed()

    def record(self, counts: TokenCounts, counted_by: CountedBy) -> None:
        """To be called before the bytes of these counts are handed to the kernel."""
        self._books.progress(self.hold, counts, self._confirmed, counted_by)
        self._recorded = counts
        self._counted_by = counted_by

    def confirm(self) -> None:
        """The kernel has every byte of what was recorded: neither we nor a kill can take it back, so it may be billed."""
        self._confirmed = self._recorded
        self._books.confirm(self.hold, self._recorded, self._counted_by)

    def completed(self, counts: TokenCounts, counted_by: CountedBy) -> Outcome:
        """It ended by itself; the engine's last word on the counts holds."""
        return Outcome(status=Status.COMPLETED, counts=counts, counted_by=counted_by)

    def broken_off(self, status: Status) -> Outcome:
        """It was ended: billed is what surely left, the rest of what was recorded is waived."""
        billed = self._confirmed if self._confirmed.output else NO_TOKENS
        waived = self._recorded.input + self._recorded.output - billed.input - billed.output
        return Outcome(status=status, counts=billed, counted_by=self._counted_by, waived=max(waived, 0))

    def client_gone(self) -> None:
        self.interrupt.fire(Cause.CLIENT_GONE)
