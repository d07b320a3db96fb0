"""The invoice as people read it."""

from msgspec.structs import replace
from tests.money.invoices.world import NOVEMBER, at

from millrace.money.invoices.document import Document, Line
from millrace.money.invoices.text import render_text
from millrace.money.rating.book import PriceTier

MAX = Line(
    month="2026-11", model="qwen3-max", price_id="qwen3-max/CNY/v2", tier=0,
    prices=PriceTier(32_768, 2_500_000_000, 500_000_000, 10_000_000_000),
    requests=1_200, input=33_768_000, cached_input=900_000, output=1_100_000, receipts=93_619_999_998,
    amount=93_620_000_000,
)  # fmt: skip
TINY = Line(
    month="2026-10", model="tiny", price_id="tiny/CNY/v1", tier=0,
    prices=PriceTier(None, 2_800_000, 2_800_000, 0),
    requests=1, input=7, cached_input=0, output=12, receipts=20, amount=20,
)  # fmt: skip

DOCUMENT = Document(
    id="inv_01kb", number="MR-2026-000001", issuer="Millrace", customer_id="ten_01ka", customer_name="Acme",
    currency="CNY", period=NOVEMBER, so_far=False, issued_at=at("2026-12-01T02:00:00Z"), lines=(TINY, MAX),
    subtotal=93_620_000_020, tax=0, rounding=-20, total=93_620_000_000, paid_from_grants=0, due=93_620_000_000,
)  # fmt: skip

READS_LIKE_THIS = """\
INVOICE MR-2026-000001

From    Millrace
To      Acme (ten_01ka)
Period  2026-11 (UTC)
Issued  2026-12-01T02:00:00.000000Z
Id      inv_01kb
Prices  CNY per 1,000,000 tokens; cached input is part of the input

Month    Model and price                                 Requests       Input  of it cached     Output        Amount
--------------------------------------------------------------------------------------------------------------------
2026-10  tiny                                                   1           7             0         12   0.000000020
         at tiny/CNY/v1                                                0.0028        0.0028          0
2026-11  qwen3-max                                          1,200  33,768,000       900,000  1,100,000  93.620000000
         at qwen3-max/CNY/v2, up to 32,768 input tokens                   2.5           0.5         10
--------------------------------------------------------------------------------------------------------------------
Subtotal                                                                                                93.620000020
Tax                                                                                                      0.000000000
Rounding                                                                                                -0.000000020
Total CNY                                                                                               93.620000000
Paid from grants                                                                                         0.000000000
Due CNY                                                                                                        93.62
"""


def test_an_invoice_reads_like_this() -> None:
    """Head, a line and its prices for each month, model, price and tier, and sums that line up under the amounts."""
    assert render_text(DOCUMENT) == READS_LIKE_THIS


def test_an_invoice_so_far_says_so() -> None:
    """Who reads an invoice of a running month is told that it may not be the month's last."""
    assert "Period  2026-11 (UTC), so far: another invoice" in render_text(replace(DOCUMENT, so_far=True))
    assert "so far" not in render_text(DOCUMENT)


def test_what_is_due_has_the_digits_that_can_be_paid() -> None:
    """Two for yuan, none for yen, three for dinar."""
    for currency, due in (("CNY", "93.62"), ("JPY", "93"), ("KWD", "93.620")):
        last = render_text(replace(DOCUMENT, currency=currency)).splitlines()[-1]
        assert last.split() == ["Due", currency, due]


def test_no_row_is_longer_than_the_table() -> None:
    """However long names and numbers are, the columns stay under their headings."""
    wide = replace(MAX, model="org/" + "m" * 60, input=10**18, cached_input=10**17)
    _, table = render_text(replace(DOCUMENT, lines=(TINY, wide))).split("\n\nMonth")
    rows = ("Month" + table).splitlines()
    assert {len(row) for row in rows if not row.startswith(" ")} == {len(rows[1])}
    assert max(len(row) for row in rows) == len(rows[1])
