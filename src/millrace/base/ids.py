"""Identifiers: a prefix that says what it names, and 128 bits that sort by time (RFC 9562, UUID version 7)."""

import os
from collections.abc import Callable, Iterator

from millrace.base.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case: sorts like the number, no i l o u
_DIGITS = 26  # 26 × 5 bits hold 128
_FIRST_MAX = "7"  # and 2 more, which are 0
_BYTES = 16
_AT_ONCE = 256  # identifiers for which random bytes are drawn
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]  # two digits at a time take half as long
_SHIFTS = range(5 * (_DIGITS - 2), -1, -10)
_LETTERS = frozenset(_ALPHABET)
_TO_PYTHONS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # the digits that int() knows


class Entropy:
    """The system's random bytes, drawn for many identifiers at once: each draw lets go of the interpreter, and where another
    thread computes (the database's writer) it takes until that pauses to have it back.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._drawn: Iterator[bytes] = iter(())

    def __call__(self, size: int) -> bytes:
        """Bytes that nobody else gets: not another thread, and not a process that was forked off meanwhile."""
        found = next(self._drawn, b"") if self._pid == os.getpid() else b""
        if len(found) == size:
            return found
        block = os.urandom(size * _AT_ONCE)
        self._drawn, self._pid = iter([block[at : at + size] for at in range(size, len(block), size)]), os.getpid()
        return block[:size]


class Ids:
    """Makes identifiers such as `req_01k8…`; unique by 74 random bits within each millisecond."""

    def __init__(self, clock: Clock, entropy: Callable[[int], bytes] | None = None) -> None:
        self._clock = clock
        self._entropy = Entropy() if entropy is None else entropy

    def new(self, prefix: str) -> str:
        milliseconds = self._clock.now() // 1_000_000
        random = int.from_bytes(self._entropy(10), "big")
        value = (milliseconds & (1 << 48) - 1) << 80 | random
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0x3 << 62) | 0x2 << 62
        return f"{prefix}_{_encode(value)}"


def id_bytes(identifier: str) -> bytes:
    """The 16 bytes behind an identifier, for fixed-size records. Raises ValueError for a text that is not one."""
    prefix, _, digits = identifier.rpartition("_")
    if not prefix or len(digits) != _DIGITS or digits[0] > _FIRST_MAX or not _LETTERS.issuperset(digits):
        raise ValueError(f"{identifier!r} is not an identifier")
    return int(digits.translate(_TO_PYTHONS), 32).to_bytes(16, "big")


def id_from_bytes(prefix: str, raw: bytes) -> str:
    """The inverse of `id_bytes`. Raises ValueError unless there are 16 bytes."""
    if len(raw) != _BYTES:
        raise ValueError(f"an identifier has {_BYTES} bytes, not {len(raw)}")
    return f"{prefix}_{_encode(int.from_bytes(raw, 'big'))}"


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
