"""What a request comes to: Σ tokens · price as one exact integer, divided once, rounded half-even once.

The whole request takes the tier of its own input tokens. A request longer than the last tier says takes the last tier:
whether a request is too long is the catalogue's to refuse before anything is held; what was served can always be rated.
"""

from collections.abc import Sequence

from msgspec import Struct

from millrace.base.money import TOKENS_PER_PRICE, divide_half_even
from millrace.generation.chunk import TokenCounts
from millrace.money.rating.book import PriceTier, PriceVersion


class Charge(Struct, frozen=True, gc=False):
    """What a request costs (nano-units) and why: the price version and the index of its tier."""

    amount: int
    price_id: str
    tier: int


def rate(counts: TokenCounts, version: PriceVersion) -> Charge:
    """The charge for what was consumed."""
    index = tier_of(counts.input, version.tiers)
    amount = cost(counts.input, counts.cached_input, counts.output, version.tiers[index])
    return Charge(amount, version.id, index)


def upper_bound(input_bound: int, output_bound: int, version: PriceVersion) -> int:
    """The most that any request within the bounds can cost: never less than `rate` of it, and reached by one of them.

    Rounding keeps order, so the dearest exact cost gives the dearest charge. Of each tier within reach it takes the
    longest request that the tier still rates, all of it at the dearer of the two input prices.
    """
    dearest = 0
    reached = 0
    for index, tier in enumerate(version.tiers):
        if index and reached >= input_bound:
            break
        longest = input_bound
        if tier.up_to_input_tokens is not None and index < len(version.tiers) - 1:
            longest = reached = min(input_bound, tier.up_to_input_tokens)
        dearest = max(dearest, longest * max(tier.input, tier.cached_input) + output_bound * tier.output)
    return divide_half_even(dearest, TOKENS_PER_PRICE)


def tier_of(input_tokens: int, tiers: Sequence[PriceTier]) -> int:
    """The index of the tier that rates a request of that many input tokens; a bound belongs to the tier below it."""
    last = len(tiers) - 1
    for index in range(last):
        up_to = tiers[index].up_to_input_tokens
        if up_to is None or input_tokens <= up_to:
            return index
    return last


def cost(input_tokens: int, cached_input: int, output: int, tier: PriceTier) -> int:
    """Nano-units for token counts or their sums, exact until the one division. `cached_input` is part of the input."""
    exact = (input_tokens - cached_input) * tier.input + cached_input * tier.cached_input + output * tier.output
    return divide_half_even(exact, TOKENS_PER_PRICE)
