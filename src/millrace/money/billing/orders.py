"""What the books are asked, and in which words: one value for each operation, all of them served together (desk.py)."""

from collections.abc import Callable

from msgspec import Struct

from millrace.money.allowances.allowance import Rate
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.idempotency.claim import Answered, Claim
from millrace.money.metering.usage import Usage
from millrace.money.rating.book import PriceVersion
from millrace.store.transaction import Tx

Also = Callable[[Tx, Usage], None]
"""What is done together with a settlement: both are kept, or neither."""


class ToHold(Struct, frozen=True, kw_only=True):
    """Reserve the most that a request can cost. Answered with the OpenHold; the same again with the same content is, too.

    Refused with RATE_LIMIT_EXCEEDED, INSUFFICIENT_CREDIT (and what is missing) or BUDGET_EXCEEDED; CONFLICT when the request
    is settled already, IDEMPOTENCY_CONFLICT when it has a hold with other content; `Recalling` when it should ask again.
    """

    request_id: str
    payer: Payer
    price: PriceVersion
    sold_as: str | None = None
    """The model that usage and revenue name, where it is not the price's own: one that was tuned on it."""
    input_bound: int
    output_bound: int
    rates: tuple[Rate, ...] = ()
    claim: Claim | None = None
    """Of a request with an Idempotency-Key: refused with what `idempotency.claim` answers where the key is taken."""

    @property
    def model(self) -> str:
        return self.sold_as or self.price.model


class ToExtend(Struct, frozen=True, kw_only=True):
    """Make room for more output. Refused as a hold is, and then the hold stays as it was. A bound never shrinks."""

    request_id: str
    payer: Payer
    price: PriceVersion
    sold_as: str | None = None
    """As the hold has it."""
    output_bound: int

    @property
    def model(self) -> str:
        return self.sold_as or self.price.model


class ToSettle(Struct, frozen=True, kw_only=True):
    """Settle the hold at what was released, void it when that is nothing. Answered with the usage row, each time the same.

    `price` None: the one that the hold was made at. `unused` goes back to the key's minute. `keyed`: its claim on an
    Idempotency-Key, if it has one, ends here: with the answer, given back when nothing was billed, or as lost.
    """

    request_id: str
    outcome: Outcome
    price: PriceVersion | None = None
    unused: Rate | None = None
    keyed: bool = False
    answer: Answered | None = None
    also: Also | None = None
    """Done in the transaction that settles the request, once; where it raises, nothing of that transaction is kept."""


class ToFlush(Struct, frozen=True):
    """Bring to the database how far running requests have come, for whoever may have to settle them: id, journal record."""

    marks: tuple[tuple[str, bytes], ...]


class ToTend(Struct, frozen=True):
    """Stay alive, and give back slices of credit that are idle, asked back or left by the dead; `all`: every one.

    Answered with how many servers live.
    """

    all: bool = False


Order = ToHold | ToExtend | ToSettle | ToFlush | ToTend


class Recalling(Exception):
    """There is enough, but a part of it lies with other servers, which were asked to give it back, or another server has just
    used up what was looked at: ask again in a moment.
    """
