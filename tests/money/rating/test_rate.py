"""What requests come to: golden figures of a published price list, ties, tiers, and a bound that always dominates."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.base.money import NANO, parse_amount
from millrace.generation.chunk import TokenCounts
from millrace.money.rating.book import PriceTier, PriceVersion
from millrace.money.rating.rate import Charge, cost, rate, tier_of, upper_bound

K = 1024


def version(*tiers: PriceTier) -> PriceVersion:
    return PriceVersion(id="m/CNY/v1", model="m", currency="CNY", version=1, effective_from=0, tiers=tiers)


def tier(up_to: int | None, full: str, cached: str, output: str) -> PriceTier:
    return PriceTier(up_to, parse_amount(full), parse_amount(cached), parse_amount(output))


QWEN3_MAX = version(
    tier(32 * K, "2.5", "0.5", "10"), tier(128 * K, "4", "0.8", "16"), tier(256 * K, "7", "1.4", "28")
)
"""Model Studio's qwen3-max, CNY per million tokens, Beijing: cached input costs a fifth."""


@pytest.mark.parametrize(
    ("input_", "cached", "output", "amount", "index"),
    [
        (0, 0, 0, "0", 0),
        (1, 0, 0, "0.0000025", 0),
        (1_000, 0, 1_000, "0.0125", 0),
        (32 * K, 0, 1_000, "0.09192", 0),
        (32 * K + 1, 0, 1_000, "0.147076", 1),  # the whole request is dearer, not the one token
        (128 * K, 0, 0, "0.524288", 1),
        (128 * K + 1, 0, 0, "0.917511", 2),
        (256 * K, 0, 64_000, "3.627008", 2),
        (10_000, 10_000, 0, "0.005", 0),
        (10_000, 8_000, 500, "0.014", 0),
        (100_000, 50_000, 2_000, "0.272", 1),
        (200_000, 200_000, 1, "0.280028", 2),
    ],
)
def test_the_published_tiers_come_to_the_published_prices(
    input_: int, cached: int, output: int, amount: str, index: int
) -> None:
    """Requests around the 32k and 128k bounds cost what the list says, to the last nano-unit."""
    charge = rate(TokenCounts(input_, cached, output, 0), QWEN3_MAX)
    assert charge == Charge(parse_amount(amount), "m/CNY/v1", index)


@pytest.mark.parametrize(
    ("model", "prices", "amount"),
    [
        ("qwen3.6-plus", ("2", "2", "12"), "0.014"),
        ("qwen-max", ("2.4", "2.4", "9.6"), "0.012"),
        ("qwen-plus", ("0.8", "0.8", "2"), "0.0028"),
        ("qwen-turbo", ("0.3", "0.3", "0.6"), "0.0009"),
    ],
)
def test_a_flat_price_has_one_tier_for_every_length(model: str, prices: tuple[str, str, str], amount: str) -> None:
    """A thousand tokens in and out of the flat models cost what the list says; a million a thousand times that."""
    flat = version(tier(None, *prices))
    assert rate(TokenCounts(1_000, 0, 1_000, 0), flat).amount == parse_amount(amount), model
    assert rate(TokenCounts(1_000_000, 0, 1_000_000, 0), flat).amount == 1_000 * parse_amount(amount)


@pytest.mark.parametrize(("tokens", "nano"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4), (9, 4), (11, 6)])
def test_a_tie_goes_to_the_even_nano_unit(tokens: int, nano: int) -> None:
    """At half a nano-unit a token every odd count is a tie, and it goes to the even side, once per request."""
    half = version(PriceTier(None, 500_000, 500_000, 500_000))
    assert rate(TokenCounts(tokens, 0, 0, 0), half).amount == nano
    assert rate(TokenCounts(0, 0, tokens, 0), half).amount == nano


def test_classes_are_added_before_the_one_rounding() -> None:
    """Three classes of a third of a nano-unit make one, though each alone would be rounded away."""
    thirds = version(PriceTier(None, 333_334, 333_333, 333_333))
    assert rate(TokenCounts(2, 1, 1, 0), thirds).amount == 1
    assert rate(TokenCounts(1, 0, 0, 0), thirds).amount == 0


def test_reasoning_is_part_of_the_output_and_costs_nothing_beside_it() -> None:
    """Reasoning tokens are output tokens; saying how many of them were reasoning changes no charge."""
    assert rate(TokenCounts(9, 0, 100, 0), QWEN3_MAX) == rate(TokenCounts(9, 0, 100, 100), QWEN3_MAX)


def test_a_request_longer_than_the_last_tier_takes_the_last_tier() -> None:
    """What was served can be rated, whatever the price list forgot."""
    assert rate(TokenCounts(10**6, 0, 0, 0), QWEN3_MAX) == Charge(7 * NANO, "m/CNY/v1", 2)


prices = st.integers(0, 50 * NANO)


@st.composite
def versions(draw: st.DrawFn) -> PriceVersion:
    """Any book: tiers that rise or fall, cached input dearer or cheaper, the last one open or not."""
    bounds: list[int | None] = [*sorted(draw(st.sets(st.integers(1, 60), max_size=3)))]
    if not bounds or draw(st.booleans()):
        bounds.append(None)
    return version(*(PriceTier(bound, draw(prices), draw(prices), draw(prices)) for bound in bounds))


@st.composite
def requests_within(draw: st.DrawFn, input_bound: int, output_bound: int) -> TokenCounts:
    input_ = draw(st.integers(0, input_bound))
    return TokenCounts(input_, draw(st.integers(0, input_)), draw(st.integers(0, output_bound)), 0)


@settings(deadline=None)
@given(versions(), st.integers(0, 80), st.integers(0, 20), st.data())
def test_no_request_within_the_bounds_costs_more_than_the_upper_bound(
    book: PriceVersion, input_bound: int, output_bound: int, data: st.DataObject
) -> None:
    """Whatever a request consumes within its bounds, it is held for already."""
    counts = data.draw(requests_within(input_bound, output_bound))
    assert rate(counts, book).amount <= upper_bound(input_bound, output_bound, book)


@settings(deadline=None)
@given(versions(), st.integers(0, 70), st.integers(0, 5))
def test_the_upper_bound_is_reached_by_some_request(book: PriceVersion, input_bound: int, output_bound: int) -> None:
    """No more is held than could be charged: one of the requests within the bounds costs exactly that."""
    dearest = max(
        rate(TokenCounts(input_, cached, output_bound, 0), book).amount
        for input_ in range(input_bound + 1)
        for cached in {0, input_}
    )
    assert upper_bound(input_bound, output_bound, book) == dearest


@settings(deadline=None)
@given(versions(), st.integers(0, 80), st.integers(0, 20), st.data())
def test_a_charge_is_the_exact_cost_to_half_a_nano_unit(
    book: PriceVersion, input_bound: int, output_bound: int, data: st.DataObject
) -> None:
    """Against exact fractions of the tier that the request's own length chooses, a charge errs by at most a half."""
    counts = data.draw(requests_within(input_bound, output_bound))
    bounds = [tier.up_to_input_tokens for tier in book.tiers[:-1]]
    own = book.tiers[sum(bound is not None and counts.input > bound for bound in bounds)]
    fresh = counts.input - counts.cached_input
    nano = fresh * own.input + counts.cached_input * own.cached_input + counts.output * own.output
    exact = Fraction(nano, 1_000_000)
    assert abs(rate(counts, book).amount - exact) <= Fraction(1, 2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=81), prices, prices)
def test_a_sum_and_its_parts_differ_by_at_most_half_a_nano_unit_each(
    requests: list[tuple[int, int]], full: int, output: int
) -> None:
    """However tokens are split into requests, their charges and the charge of their sums differ by rounding only."""
    one = PriceTier(None, full, full, output)
    apart = sum(cost(input_, 0, made, one) for input_, made in requests)
    together = cost(sum(r[0] for r in requests), 0, sum(r[1] for r in requests), one)
    assert 2 * abs(apart - together) <= len(requests) + 1


def test_a_sum_of_any_size_is_exact() -> None:
    """A month of 10¹⁵ requests is beyond 64 bits and still comes out to the nano-unit."""
    assert cost(10**20, 0, 1, PriceTier(None, 2_800_000, 0, 2_000_000)) == 28 * 10**19 + 2


@settings(deadline=None)
@given(versions(), st.integers(0, 80))
def test_a_bound_belongs_to_the_tier_below_it(book: PriceVersion, input_: int) -> None:
    """A request of exactly a tier's bound is rated by that tier."""
    index = tier_of(input_, book.tiers)
    up_to = book.tiers[index].up_to_input_tokens
    below = book.tiers[index - 1].up_to_input_tokens if index else -1
    assert below is not None
    assert below < input_
    assert up_to is None or input_ <= up_to or index == len(book.tiers) - 1
