"""Money is exact: what is parsed is what is rendered, and rounding is what its name says."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.base.errors import Reason, Refusal
from millrace.base.money import (
    MAX_NANO,
    MINOR_DIGITS,
    NANO,
    divide_half_even,
    divide_half_up,
    minor_unit,
    parse_amount,
    parse_currency,
    render_amount,
)

AMOUNTS = st.integers(-MAX_NANO, MAX_NANO)
NUMERATORS = st.integers(-(10**30), 10**30)
DENOMINATORS = st.integers(1, 10**12) | st.sampled_from([2, 4, 10, 1_000_000])


@given(AMOUNTS)
def test_render_and_parse_are_inverse(nano: int) -> None:
    """Every amount that an account can hold is parsed from its own text."""
    assert parse_amount(render_amount(nano)) == nano


@given(AMOUNTS)
def test_a_rendered_amount_has_nine_places(nano: int) -> None:
    """Nine places always, so that texts of equal amounts are equal."""
    assert len(render_amount(nano).partition(".")[2]) == 9


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("10.00", 10 * NANO),
        ("0.000000001", 1),
        ("-0.5", -NANO // 2),
        ("0", 0),
        ("-0", 0),
        ("007.1", 7_100_000_000),
        ("9223372036.854775807", MAX_NANO),
    ],
)
def test_a_decimal_is_an_exact_amount(text: str, nano: int) -> None:
    """A decimal with at most nine places is that many nano-units."""
    assert parse_amount(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        *("", ".5", "1.", "1e3", "1,000", "+1", " 1", "1 ", "1\n", "0.0000000001", "nan", "--1", "0x1", "1_000"),
        *("１０", "١", "9" * 200),
    ],
)
def test_what_is_no_decimal_is_refused(text: str) -> None:
    """Exponents, separators, spaces, a tenth place and digits of other scripts are refused, naming the parameter."""
    with pytest.raises(Refusal, match="is not an amount") as caught:
        parse_amount(text, param="budget")
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_REQUEST, "budget")
    assert caught.value.sentence.startswith("budget: ")
    assert len(caught.value.sentence) < 200


@pytest.mark.parametrize("text", ["9223372036.854775808", "-9999999999"])
def test_more_than_an_account_holds_is_refused(text: str) -> None:
    """An amount beyond 64 bits is refused and the most is named."""
    with pytest.raises(Refusal, match=r"9223372036\.854775807"):
        parse_amount(text)


@given(NUMERATORS, DENOMINATORS)
def test_half_even_is_what_fractions_say(numerator: int, denominator: int) -> None:
    """Half-even rounding agrees with Python's exact fractions, for charges and for reversals."""
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(("numerator", "rounded"), [(5, 2), (7, 4), (-5, -2), (-7, -4), (4, 2), (0, 0), (1, 0), (3, 2)])
def test_half_even_takes_ties_to_the_even_one(numerator: int, rounded: int) -> None:
    """2.5 becomes 2 and 3.5 becomes 4: ties do not drift upwards."""
    assert divide_half_even(numerator, 2) == rounded


@given(NUMERATORS, DENOMINATORS)
def test_half_up_is_within_half_a_unit_and_takes_ties_away_from_zero(numerator: int, denominator: int) -> None:
    """Half-up is the nearest integer, the one further from zero on a tie, and the mirror of itself for credit notes."""
    rounded = divide_half_up(numerator, denominator)
    distance = abs(Fraction(numerator, denominator) - rounded)
    assert distance <= Fraction(1, 2)
    if distance == Fraction(1, 2):
        assert abs(rounded) * denominator > abs(numerator)
    assert divide_half_up(-numerator, denominator) == -rounded


@pytest.mark.parametrize("currency", sorted(MINOR_DIGITS))
def test_a_minor_unit_divides_the_unit(currency: str) -> None:
    """What can be paid is a whole number of nano-units, and a power of ten of it is one unit."""
    assert minor_unit(currency) * 10 ** MINOR_DIGITS[currency] == NANO
    assert parse_currency(currency) == currency


@pytest.mark.parametrize("text", ["", "cny", "XXX", "CNY "])
def test_an_unknown_currency_is_refused(text: str) -> None:
    """A currency that this house cannot round is refused, and the known ones are named."""
    with pytest.raises(Refusal, match="CNY, EUR") as caught:
        parse_currency(text)
    assert caught.value.param == "currency"
