"""Money is an integer number of nano-units (10⁻⁹) of a currency. No float comes near it, decimals only at the edge.

A price is an integer too: nano-units per 1,000,000 tokens, since 2.8 nano-units a token occur in real price lists.
"""

import re
from typing import Final

from millrace.base.errors import Reason, Refusal

NANO: Final = 1_000_000_000
TOKENS_PER_PRICE: Final = 1_000_000

MAX_NANO: Final = 2**63 - 1
"""What one account or transfer can hold: 9.2 thousand million units of a currency.

Sums may be larger and are Python's.
"""

_AMOUNT = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,9}))?")

MINOR_DIGITS: Final = {
    "CNY": 2, "EUR": 2, "GBP": 2, "HKD": 2, "INR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "SGD": 2, "USD": 2,
}
"""Digits after the point of what can be paid (ISO 4217). Invoices round to it; balances do not."""


def parse_amount(text: str, *, param: str = "amount") -> int:
    """'10.00' → 10_000_000_000 nano-units, exactly. Refuses exponents, more than nine places and anything else."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{param}: {text[:40]!r} is not an amount; write a decimal such as 10.00 with at most nine places",
            param=param,
        )
    sign, units, places = match.groups()
    nano = int(units) * NANO + int((places or "").ljust(9, "0"))
    if nano > MAX_NANO:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{param}: {text} is more than an account can hold ({render_amount(MAX_NANO)})",
            param=param,
        )
    return -nano if sign else nano


def render_amount(nano: int) -> str:
    """10_000_000_000 → '10.000000000': always nine places, so that texts of equal amounts are equal."""
    sign = "-" if nano < 0 else ""
    units, places = divmod(abs(nano), NANO)
    return f"{sign}{units}.{places:09d}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """The integer nearest to numerator / denominator, ties to the even one; denominator > 0."""
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient & 1):
        return quotient + 1
    return quotient


def divide_half_up(numerator: int, denominator: int) -> int:
    """The integer nearest to numerator / denominator, ties away from zero: how invoices round; denominator > 0."""
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))


def parse_currency(text: str, *, param: str = "currency") -> str:
    """An ISO 4217 code that this house knows how to round."""
    if text not in MINOR_DIGITS:
        known = ", ".join(sorted(MINOR_DIGITS))
        raise Refusal(Reason.INVALID_REQUEST, f"{param}: {text!r} is not a currency known here ({known})", param=param)
    return text


def minor_unit(currency: str) -> int:
    """Nano-units in the smallest payable unit: 10_000_000 for CNY (0.01)."""
    return int(NANO // 10 ** MINOR_DIGITS[currency])
