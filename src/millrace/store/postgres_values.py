"""Values on their way to PostgreSQL and back: an integer is always int8, a text is text, bytes are bytea, nothing else exists.

An integer of more than 64 bits is refused (OverflowError) as SQLite's is. Sums come back from PostgreSQL as `numeric`; they are
integers here, and a fraction is a bug (ValueError).
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper, StrBinaryDumper

from millrace.base.errors import Reason, Refusal

_UNKNOWN, _BYTEA_ARRAY, _TEXT_ARRAY, _INT8_ARRAY = 0, 1001, 1009, 1016
_WHOLE = ("numeric", "float4", "float8")
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1


class Listed(tuple[Any, ...]):
    """A list as a parameter, with NULLs in it perhaps; one of NULLs alone, or of nothing, has the type that it is put to."""

    __slots__ = ()


class Texts(Listed):
    __slots__ = ()


class Integers(Listed):
    __slots__ = ()


class Blobs(Listed):
    __slots__ = ()


def listed(values: Sequence[Any]) -> Listed:
    """A list as PostgreSQL takes it: all texts, all integers or all bytes."""
    first = next((value for value in values if value is not None), None)
    if isinstance(first, str):
        return Texts(values)
    if isinstance(first, int):
        return Integers(values)
    return Blobs(values) if isinstance(first, bytes) else Listed(values)


def nul_refused() -> Refusal:
    """SQLite keeps any text; PostgreSQL all but this."""
    return Refusal(Reason.INVALID_REQUEST, "a text with the character U+0000 cannot be kept; leave it out")


def register(connection: "psycopg.Connection[Any]") -> None:
    """Teach a connection to speak of values as this file says."""
    adapters = connection.adapters
    for kind in (int, bool):
        adapters.register_dumper(kind, Int8BinaryDumper)
    adapters.register_dumper(str, StrBinaryDumper)
    adapters.register_dumper(bytes, BytesBinaryDumper)
    for made, dumper in ((Listed, _Nothing), (Texts, _Texts), (Integers, _Integers), (Blobs, _Blobs)):
        adapters.register_dumper(made, dumper)
    for name in _WHOLE:
        adapters.register_loader(name, _Whole)
    adapters.register_loader("bool", _Truth)


class _Nothing(Dumper):
    oid = _UNKNOWN

    def dump(self, obj: Listed) -> Buffer:
        return _array(["NULL"] * len(obj))


class _Texts(Dumper):
    oid = _TEXT_ARRAY

    def dump(self, obj: Texts) -> Buffer:
        return _plain(obj) or _array(["NULL" if text is None else _quoted(text) for text in obj])


class _Integers(Dumper):
    oid = _INT8_ARRAY

    def dump(self, obj: Integers) -> Buffer:
        return _array(["NULL" if number is None else _digits(number) for number in obj])


class _Blobs(Dumper):
    oid = _BYTEA_ARRAY

    def dump(self, obj: Blobs) -> Buffer:
        return _array(["NULL" if blob is None else f'"\\\\x{blob.hex()}"' for blob in obj])


def _array(elements: list[str]) -> bytes:
    return f"{{{','.join(elements)}}}".encode()


def _plain(texts: Texts) -> bytes | None:
    """Of texts with nothing in them to be careful with, as nearly all are: looked through all at once."""
    if None in texts:
        return None
    joined = '","'.join(texts)
    if "\0" in joined or "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        return None
    return f'{{"{joined}"}}'.encode()


def _quoted(text: str) -> str:
    if "\0" in text:
        raise nul_refused()
    if "\\" in text or '"' in text:
        text = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{text}"'


def _digits(number: int) -> str:
    if not _SMALLEST <= number <= _LARGEST:
        raise OverflowError("an integer of more than 64 bits")
    return str(int(number))


class _Whole(Loader):
    def load(self, data: Buffer) -> int:
        return int(bytes(data))


class _Truth(Loader):
    """SQLite has no truth values: a comparison is 0 or 1."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data) == b"t")
