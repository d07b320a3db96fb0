"""The demo's checks let through what is right, and name what is not."""

import pytest
from msgspec.structs import replace

from millrace.cli.demo_checks import balance_is_rest, left_is_billed_fairly, receipt_is_rated
from millrace.money.rating.book import PriceTier, PriceVersion
from millrace.wire.receipts import BalanceForm, ReceiptForm, TokensForm

PRICE = PriceVersion(
    id="echo/CNY/v1", model="echo", currency="CNY", version=1, effective_from=0,
    tiers=(PriceTier(None, 800_000_000, 160_000_000, 2_000_000_000),),
)  # fmt: skip

RECEIPT = ReceiptForm(
    request_id="req_1", model="echo", status="completed", counted_by="engine", price="echo/CNY/v1", amount="0.001800000",
    currency="CNY", started_at="", finished_at="",
    tokens=TokensForm(input=1000, cached_input=0, output=500, reasoning=0, waived=0),
)  # fmt: skip

BALANCE = BalanceForm(tenant="demo", currency="CNY", balance="9.998200000", held="0.000000000", available="9.998200000")


def test_a_receipt_is_what_its_tokens_come_to() -> None:
    """One nano-unit more is a disagreement."""
    assert receipt_is_rated(RECEIPT, PRICE) is None
    assert "0.001800000" in str(receipt_is_rated(replace(RECEIPT, amount="0.001800001"), PRICE))


@pytest.mark.parametrize(
    ("status", "received", "waived", "fair"),
    [
        ("cancelled", 500, 0, True),
        ("cancelled", 20, 0, True),  # the rest was on its way
        ("cancelled", 501, 1, True),  # recorded, delivery in doubt: not charged
        ("cancelled", 501, 0, False),
        ("completed", 20, 0, False),
    ],
)
def test_a_stream_that_was_left_costs_what_left(status: str, received: int, waived: int, fair: bool) -> None:
    """At least what was received is known to the receipt, and it ended as cancelled."""
    tokens = replace(RECEIPT.tokens, waived=waived)
    receipt = replace(RECEIPT, status=status, tokens=tokens)
    assert (left_is_billed_fairly(receipt, received, limit=4096) is None) is fair


def test_a_stream_that_was_left_is_not_charged_to_its_end() -> None:
    """Charged for all that was asked for, it was not cancelled at all."""
    assert "all 500" in str(left_is_billed_fairly(replace(RECEIPT, status="cancelled"), 3, limit=500))


def test_the_balance_is_what_the_receipts_leave() -> None:
    """To the last digit, and nothing stays held."""
    granted = 10 * 10**9
    assert balance_is_rest(BALANCE, granted, [RECEIPT]) is None
    assert balance_is_rest(BALANCE, granted, [RECEIPT, RECEIPT]) is not None
    assert "held" in str(balance_is_rest(replace(BALANCE, held="0.000000001"), granted, [RECEIPT]))
