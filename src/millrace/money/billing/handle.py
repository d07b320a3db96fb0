"""A running request's reservation, as its own stream has it in hand."""

from msgspec import Struct

from millrace.money.allowances.allowance import Rate
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.orders import Also, ToExtend, ToSettle
from millrace.money.idempotency.claim import Answered
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
    sold_as: str | None = None
    """The model that usage and revenue name, where it is not the price's own."""

    @property
    def model(self) -> str:
        return self.sold_as or self.price.model

    def to_extend(self, output_bound: int) -> ToExtend:
        return ToExtend(
            request_id=self.request_id, payer=self.payer, price=self.price, sold_as=self.sold_as, output_bound=output_bound
        )

    def to_settle(self, outcome: Outcome, unused: Rate | None, answer: Answered | None, also: Also | None) -> ToSettle:
        return ToSettle(
            request_id=self.request_id, outcome=outcome, price=self.price, unused=unused, keyed=self.keyed, answer=answer,
            also=also,
        )  # fmt: skip
