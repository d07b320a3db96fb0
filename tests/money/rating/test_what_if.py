"""A period at other prices."""

from millrace.base.money import NANO
from millrace.generation.chunk import TokenCounts
from millrace.money.rating.book import NewPrice, PriceTier
from millrace.money.rating.what_if import Comparison, Rated, what_if

CHEAP_WHEN_SHORT = NewPrice(
    model="qwen3-max",
    currency="CNY",
    tiers=(PriceTier(1_000, NANO, NANO, 2 * NANO), PriceTier(None, 3 * NANO, NANO, 4 * NANO)),
)


def row(model: str, input_: int, output: int, amount: int, currency: str = "CNY") -> Rated:
    return Rated(model, currency, TokenCounts(input_, 0, output, 0), amount)


def test_each_request_takes_the_new_tier_of_its_own_length() -> None:
    """Two requests with the tokens of one long request stay in the short tier: sums per model would get this wrong."""
    short = [row("qwen3-max", 1_000, 10, 7), row("qwen3-max", 1_000, 10, 8)]
    long = [row("qwen3-max", 2_000, 20, 15)]
    assert what_if(short, [CHEAP_WHEN_SHORT]) == [Comparison("qwen3-max", "CNY", 2, 15, 2 * 1_020_000)]
    assert what_if(long, [CHEAP_WHEN_SHORT]) == [Comparison("qwen3-max", "CNY", 1, 15, 6_080_000)]


def test_a_model_without_a_new_price_keeps_what_it_came_to() -> None:
    """Only what the file prices is changed, and a currency is not another."""
    rows = [row("small", 1, 1, 11), row("qwen3-max", 1, 0, 12, "USD"), row("qwen3-max", 1, 0, 13)]
    assert what_if(rows, [CHEAP_WHEN_SHORT]) == [
        Comparison("qwen3-max", "CNY", 1, 13, 1_000),
        Comparison("qwen3-max", "USD", 1, 12, 12),
        Comparison("small", "CNY", 1, 11, 11),
    ]


def test_a_period_without_usage_compares_nothing() -> None:
    """New prices for models that nobody used change nothing."""
    assert what_if([], [CHEAP_WHEN_SHORT]) == []
