"""The arithmetic of invoices on values alone: lines from sums, what is due, and the transfers that a document makes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.money.invoices.world import NOVEMBER

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO, minor_unit
from millrace.generation.chunk import TokenCounts
from millrace.money.invoices.document import Document
from millrace.money.invoices.draft import (
    Credit,
    Customer,
    Issuer,
    Posting,
    UsageGroup,
    amount_due,
    draw_document,
    draw_lines,
    postings,
    reverse,
)
from millrace.money.rating.book import PriceTier, PriceVersion
from millrace.money.rating.rate import rate

CENT = minor_unit("CNY")

PRICES = {
    version.id: version
    for version in (
        PriceVersion(
            id="half/CNY/v1", model="half", currency="CNY", version=1, effective_from=0,
            tiers=(PriceTier(10, 500_000, 300_000, 700_000), PriceTier(None, 900_000, 100_000, 1_100_000)),
        ),
        PriceVersion(
            id="big/CNY/v1", model="big", currency="CNY", version=1, effective_from=0,
            tiers=(PriceTier(None, 5 * NANO, NANO, 20 * NANO),),
        ),
    )
}  # fmt: skip


def request(price_id: str, counts: TokenCounts, month: str = "2026-11") -> UsageGroup:
    """The group of one request, as it was rated."""
    charge = rate(counts, PRICES[price_id])
    return UsageGroup(
        month=month, model=PRICES[price_id].model, price_id=price_id, tier=charge.tier, requests=1,
        input=counts.input, cached_input=counts.cached_input, output=counts.output, receipts=charge.amount,
    )  # fmt: skip


def document(groups: list[UsageGroup], credit: Credit, now: int = NOVEMBER.end) -> Document:
    return draw_document(
        draw_lines(groups, PRICES), credit, id="inv_1", number="MR-2026-000001", issuer=Issuer(),
        customer=Customer("ten_1", "Acme"), currency="CNY", period=NOVEMBER, now=now,
    )  # fmt: skip


def test_a_line_is_computed_from_the_sums_and_rounded_once() -> None:
    """81 requests of half a nano-unit, each rounded to nothing, are a line of 40: 40.5, half-even."""
    (line,) = draw_lines([request("half/CNY/v1", TokenCounts(1, 0, 0, 0))] * 81, PRICES)
    assert (line.requests, line.input, line.receipts, line.amount) == (81, 81, 0, 40)


def test_lines_come_by_month_model_version_and_tier() -> None:
    """Whatever the order of the rows, an invoice reads by month, then model, then version, then tier."""
    groups = [
        request("half/CNY/v1", TokenCounts(11, 0, 0, 0)),
        request("half/CNY/v1", TokenCounts(10, 0, 0, 0)),
        request("big/CNY/v1", TokenCounts(1, 0, 0, 0)),
        request("half/CNY/v1", TokenCounts(10, 0, 0, 0), "2026-10"),
    ]
    assert [(line.month, line.model, line.tier) for line in draw_lines(groups, PRICES)] == [
        ("2026-10", "half", 0), ("2026-11", "big", 0), ("2026-11", "half", 0), ("2026-11", "half", 1),
    ]  # fmt: skip


def test_a_difference_that_rounding_does_not_explain_is_refused() -> None:
    """Two requests may differ from their line by one nano-unit and not by two; the refusal says what came to what."""
    one = request("big/CNY/v1", TokenCounts(1_000, 0, 0, 0))
    near = UsageGroup(**{name: getattr(one, name) for name in one.__struct_fields__} | {"receipts": one.receipts + 1})
    far = UsageGroup(**{name: getattr(one, name) for name in one.__struct_fields__} | {"receipts": one.receipts + 2})
    assert draw_lines([near], PRICES)[0].amount == one.receipts
    with pytest.raises(Refusal) as caught:
        draw_lines([far], PRICES)
    assert caught.value.reason is Reason.CONFLICT
    assert "1 requests to big in 2026-11 come to 0.005000000 at big/CNY/v1 but their receipts to 0.005000002" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("exact", "charged", "room", "due"),
    [
        (0, 0, 0, 0),
        (CENT // 2, 0, 10 * CENT, 0),  # grants paid for all of it
        (CENT // 2 - 1, CENT // 2 - 1, 10 * CENT, 0),
        (CENT // 2, CENT // 2, 10 * CENT, CENT),  # half-up
        (CENT, CENT, 0, CENT),
        (CENT * 3 // 2, CENT * 3 // 2, CENT // 2, 2 * CENT),  # exactly as much room as it takes
        (CENT * 3 // 2, CENT * 3 // 2, CENT // 2 - 1, CENT),  # a nano-unit less, and it goes down
        (CENT + 1, CENT - 1, 0, 0),  # the line says more than the receipts, and there is no room for that either
        (-3, 2, 10 * CENT, 0),
        (-CENT, 2, 10 * CENT, 0),  # never a due that the tenant would be paid
    ],
)
def test_what_is_due_is_payable_and_within_the_limit(exact: int, charged: int, room: int, due: int) -> None:
    """Half-up to whole cents where the credit has room for it, down where not, nothing where grants paid."""
    assert amount_due(exact, Credit(charged, room), CENT) == due


def test_the_instant_of_issue_is_whole_microseconds() -> None:
    """The document says no more of its time than its JSON shows, so that the two are equal."""
    assert document([], Credit(0, 0), now=NOVEMBER.end + 1_999).issued_at == NOVEMBER.end + 1_000


def test_a_period_is_over_at_its_end() -> None:
    """Up to its last nano-second an invoice is so far; from the end on it is the whole period's."""
    assert document([], Credit(0, 0), now=NOVEMBER.end - 1).so_far
    assert not document([], Credit(0, 0), now=NOVEMBER.end).so_far


def test_a_currency_without_cents_is_rounded_to_whole_units() -> None:
    """What is due in yen is whole yen."""
    assert amount_due(NANO * 3 // 2, Credit(NANO * 3 // 2, NANO), minor_unit("JPY")) == 2 * NANO


def test_the_document_makes_the_transfers_it_needs() -> None:
    """Revenue grows to the lines and the receivable to what is due; where receipts were more, a transfer runs back."""
    groups = [request("half/CNY/v1", TokenCounts(1, 0, 0, 0))] * 5  # line 2, receipts 0
    groups += [request("half/CNY/v1", TokenCounts(0, 0, 1, 0), "2026-10")] * 10  # line 7, receipts 10
    groups += [request("big/CNY/v1", TokenCounts(1_000, 0, 0, 0))]  # 0.005 in both
    charged = sum(group.receipts for group in groups)
    drawn = document(groups, Credit(charged, 10 * CENT))
    assert postings(drawn) == [
        Posting("inv_1/2", "revenue/CNY/half", "rounding/CNY", 1),
        Posting("inv_1/3", "receivable/ten_1/CNY", "rounding/CNY", CENT - charged),
    ]
    assert reverse(postings(drawn)[0]) == Posting("inv_1/2/void", "rounding/CNY", "revenue/CNY/half", 1)


counts = st.builds(
    lambda input_, cached, output: TokenCounts(input_, min(cached, input_), output, 0),
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 20),
)  # fmt: skip
months = st.sampled_from(["2026-10", "2026-11"])
groups_ = st.lists(st.builds(request, st.sampled_from(sorted(PRICES)), counts, months), min_size=1, max_size=40)


@settings(deadline=None)
@given(groups_, st.randoms(use_true_random=False), st.integers(0, 2 * CENT))
def test_the_order_of_rows_does_not_matter(groups: list[UsageGroup], order: random.Random, room: int) -> None:
    """A month's rows in any order make the same document, to the byte."""
    credit = Credit(sum(group.receipts for group in groups), room)
    shuffled = list(groups)
    order.shuffle(shuffled)
    assert document(shuffled, credit) == document(groups, credit)


@settings(deadline=None)
@given(groups_, st.integers(0, 40), st.integers(0, 2 * CENT))
def test_every_document_adds_up(groups: list[UsageGroup], covered: int, room: int) -> None:
    """lines + tax + rounding = total = grants + due, due in whole cents within the limit; the transfers make it so."""
    receipts = sum(group.receipts for group in groups)
    charged = sum(group.receipts for group in groups[covered:])
    drawn = document(groups, Credit(charged, room))
    assert drawn.subtotal == sum(line.amount for line in drawn.lines)
    assert drawn.subtotal + drawn.tax + drawn.rounding == drawn.total == drawn.paid_from_grants + drawn.due
    assert drawn.paid_from_grants == receipts - charged
    assert drawn.due % CENT == 0
    assert 0 <= drawn.due <= charged + room
    books = {"rounding/CNY": 0, "receivable/ten_1/CNY": -charged, "revenue": receipts}
    for posting in postings(drawn):
        assert posting.amount > 0
        for account, sign in ((posting.debit, -1), (posting.credit, 1)):
            books["revenue" if account.startswith("revenue/") else account] += sign * posting.amount
    assert books == {"rounding/CNY": drawn.rounding, "receivable/ten_1/CNY": -drawn.due, "revenue": drawn.subtotal}


@settings(deadline=None)
@given(groups_)
def test_a_split_into_days_changes_no_line(groups: list[UsageGroup]) -> None:
    """Rows summed by day first and by month then make the lines of the single rows."""
    half = len(groups) // 2
    summed = [
        UsageGroup(
            month=line.month, model=line.model, price_id=line.price_id, tier=line.tier, requests=line.requests,
            input=line.input, cached_input=line.cached_input, output=line.output, receipts=line.receipts,
        )
        for part in (groups[:half], groups[half:])
        for line in draw_lines(part, PRICES)
    ]  # fmt: skip
    assert draw_lines(summed, PRICES) == draw_lines(groups, PRICES)
