"""What is held for a request, and from where: values and rules, no I/O."""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.grants.store import Source
from millrace.money.metering.usage import Status


class Payer(Struct, frozen=True, kw_only=True):
    """Who is charged for a request. `budget` is what its key may spend in a UTC month, nano-units; None for no limit.
    """

    tenant_id: str
    project_id: str
    key_id: str
    currency: str
    budget: int | None


class OpenHold(Struct, frozen=True, kw_only=True):
    """A hold that is not resolved: the row, as it stands in the database."""

    request_id: str
    tenant_id: str
    project_id: str
    key_id: str
    model: str
    price_id: str
    input_bound: int
    output_bound: int
    amount: int
    currency: str
    draws: tuple["Leg", ...]
    budget_month: str | None
    epoch: int
    started_at: int

    @property
    def legs(self) -> int:
        """Its pending transfers '<request_id>/1' … '<request_id>/<legs>'."""
        return len(self.draws)


class Outcome(Struct, frozen=True, kw_only=True):
    """How a request ended and what of it was released: that, and no more, is billed."""

    status: Status
    counts: TokenCounts
    counted_by: CountedBy
    waived: int = 0


class Leg(NamedTuple):
    """A part of a hold, pending from one account to another."""

    account: str
    revenue: str
    amount: int


def plan(sources: Iterable[Source], revenue: str, amount: int) -> tuple[list[Leg], int]:
    """Spread an amount over the sources in their order. Returns the legs and what is missing (0: the hold can be made).
    """
    legs: list[Leg] = []
    missing = amount
    for source in sources:
        part = min(source.available, missing)
        if part > 0:
            legs.append(Leg(source.account, revenue, part))
            missing -= part
        if missing == 0:
            break
    return legs, missing


def clip(counts: TokenCounts, input_bound: int, output_bound: int) -> tuple[TokenCounts, int]:
    """Counts no larger than what was held for, and the tokens cut off: those are waived, never charged."""
    if counts.cached_input <= counts.input <= input_bound and counts.reasoning <= counts.output <= output_bound:
        return counts, 0
    input_ = min(counts.input, input_bound)
    output = min(counts.output, output_bound)
    clipped = TokenCounts(input_, min(counts.cached_input, input_), output, min(counts.reasoning, output))
    return clipped, counts.input - input_ + counts.output - output


def leg_id(request_id: str, leg: int) -> str:
    """The id of a hold's pending transfer; legs count from 1."""
    return f"{request_id}/{leg}"
