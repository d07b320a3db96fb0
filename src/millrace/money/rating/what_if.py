"""What a period would have come to under other prices: `millrace price what-if FILE --period 2026-11`."""

from collections.abc import Iterable

from msgspec import Struct

from millrace.generation.chunk import TokenCounts
from millrace.money.rating.book import NewPrice
from millrace.money.rating.rate import cost, tier_of


class Rated(Struct, frozen=True, gc=False):
    """One usage row as far as its price goes. Sums would not do: a tier depends on the single request."""

    model: str
    """The one whose price it has."""
    currency: str
    counts: TokenCounts
    amount: int


class Comparison(Struct, frozen=True):
    """Nano-units of one model's requests: what they came to, and what they would have come to."""

    model: str
    currency: str
    requests: int
    current: int
    new: int


def what_if(rows: Iterable[Rated], new_prices: Iterable[NewPrice]) -> list[Comparison]:
    """Per model and currency, in that order. A model without a new price keeps what it came to; dates play no part."""
    prices = {(price.model, price.currency): price for price in new_prices}
    totals: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        key = (row.model, row.currency)
        price = prices.get(key)
        total = totals.setdefault(key, [0, 0, 0])
        total[0] += 1
        total[1] += row.amount
        total[2] += row.amount if price is None else _amount(row.counts, price)
    return [Comparison(*key, *totals[key]) for key in sorted(totals)]


def _amount(counts: TokenCounts, price: NewPrice) -> int:
    tier = price.tiers[tier_of(counts.input, price.tiers)]
    return cost(counts.input, counts.cached_input, counts.output, tier)
