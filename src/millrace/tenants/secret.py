"""The secret of a key: made here, shown once, and known from then on only by its SHA-256.

A fast hash without salt is right here and wrong for passwords: nobody can try out 256 random bits.
"""

import hashlib
import secrets
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = 43  # 62⁴³ > 2²⁵⁶

PREFIX: Final = "mr_"
"""Lets people and secret scanners see what leaked."""

LENGTH: Final = len(PREFIX) + _DIGITS


class Secret(str):
    """The text of a secret whose `repr` does not show it, so that no log of values and no traceback does."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


def new_secret() -> Secret:
    """`mr_` and 256 random bits in base 62: one word to a double click, safe in a URL, a header and a shell."""
    value = secrets.randbits(256)
    digits = []
    for _ in range(_DIGITS):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return Secret(PREFIX + "".join(digits))


def sha256_of(secret: str) -> str:
    """What is kept of a secret: lower-case hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
