"""A running request's reservation, as its own stream has it in hand."""

from msgspec import Struct

from millrace.money.billing.hold import Payer
from millrace.money.rating.book import PriceVersion


class Hold(Struct, weakref=True):
    """A running request's reservation, as its own stream sees it. Whoever lets go of it unsettled leaves it to the sweeper."""

    request_id: str
    raw_id: bytes
    payer: Payer
    price: PriceVersion
    output_bound: int
    epoch: int = 0
    keyed: bool = False
