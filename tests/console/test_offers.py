"""What the front page says of models and prices."""

import pytest

from millrace.console.offers import STATES, in_force, shown_amount
from millrace.engines.protocol import EngineState
from millrace.money.rating.book import PriceTier, PriceVersion


def version(number: int, effective_from: int, model: str = "qwen3-8b", currency: str = "CNY") -> PriceVersion:
    return PriceVersion(
        id=f"{model}/{currency}/v{number}", model=model, currency=currency, version=number,
        effective_from=effective_from, tiers=(PriceTier(None, 1, 1, 1),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "0.00"), (100_000_000, "0.10"), (2_000_000_000, "2.00"), (105_000_000, "0.105"), (1, "0.000000001"),
        (1_234_500_000_000, "1,234.50"), (10_000_000_000, "10.00"),
    ],
)  # fmt: skip
def test_an_amount_is_shown_whole(nano: int, shown: str) -> None:
    """Every digit that says something is shown, two places at least, thousands apart."""
    assert shown_amount(nano) == shown


def test_the_price_in_force() -> None:
    """Of each model and currency the version that took effect last; a planned one is not shown before its day."""
    book = [
        version(1, 10), version(2, 20), version(3, 99),
        version(1, 10, currency="EUR"), version(2, 10, currency="EUR"),
        version(1, 99, model="later"),
    ]  # fmt: skip
    assert [price.id for price in in_force(book, now=50)] == ["qwen3-8b/CNY/v2", "qwen3-8b/EUR/v2"]


def test_every_state_has_a_word() -> None:
    """No state of an engine is unknown to the page."""
    assert set(STATES) == set(EngineState)
