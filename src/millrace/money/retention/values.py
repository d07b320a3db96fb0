"""What is known of an exported range of usage."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from millrace.store.transaction import Scalar

Row = Sequence[Scalar]

COLUMNS = (
    ("seq", "BIGINT"), ("request_id", "VARCHAR"), ("tenant_id", "VARCHAR"), ("project_id", "VARCHAR"), ("key_id", "VARCHAR"),
    ("model", "VARCHAR"), ("status", "VARCHAR"), ("counted_by", "VARCHAR"), ("input", "BIGINT"), ("cached_input", "BIGINT"),
    ("output", "BIGINT"), ("reasoning", "BIGINT"), ("waived", "BIGINT"), ("price_id", "VARCHAR"), ("tier", "BIGINT"),
    ("amount", "BIGINT"), ("currency", "VARCHAR"), ("epoch", "BIGINT"), ("started_at", "BIGINT"), ("finished_at", "BIGINT"),
)  # fmt: skip
"""The columns of a file, in order: whole numbers of 64 bits and texts. Amounts are nano-units, times nanoseconds since 1970."""


class Sums(Struct, frozen=True, kw_only=True):
    """What the rows of a range come to: found while they are written, and again from the file."""

    seq_lo: int
    seq_hi: int
    requests: int
    tokens: int
    waived: int
    amounts: tuple[tuple[str, int], ...]
    """Nano-units by currency."""
    finished_lo: int
    finished_hi: int


class Export(Struct, frozen=True, kw_only=True):
    """A file that is there for good: its range begins behind the one before it, wherever its first row is."""

    seq_lo: int
    seq_hi: int
    file: str
    sha256: str
    size: int
    requests: int
    tokens: int
    waived: int
    amounts: tuple[tuple[str, int], ...]
    finished_lo: int
    finished_hi: int
    exported_at: int


def render_amounts(amounts: Sequence[tuple[str, int]]) -> str:
    """Canonical JSON; a sum may not fit 64 bits, so it is a text."""
    return msgspec.json.encode({currency: str(amount) for currency, amount in amounts}, order="sorted").decode()


def parse_amounts(text: str) -> tuple[tuple[str, int], ...]:
    """The inverse of `render_amounts`."""
    found: Mapping[str, str] = msgspec.json.decode(text, type=dict[str, str])
    return tuple((currency, int(amount)) for currency, amount in sorted(found.items()))


def export_of(sums: Sums, *, seq_lo: int, file: str, sha256: str, size: int, now: int) -> Export:
    """The manifest row of a file that was written."""
    return Export(
        seq_lo=seq_lo, seq_hi=sums.seq_hi, file=file, sha256=sha256, size=size, requests=sums.requests, tokens=sums.tokens,
        waived=sums.waived, amounts=sums.amounts, finished_lo=sums.finished_lo, finished_hi=sums.finished_hi, exported_at=now,
    )  # fmt: skip


def disagreement(export: Export, sums: Sums) -> str | None:
    """Where what a file holds differs from what its manifest row says."""
    for name in ("seq_hi", "requests", "tokens", "waived", "amounts", "finished_lo", "finished_hi"):
        said, found = getattr(export, name), getattr(sums, name)
        if said != found:
            return f"{export.file}: {name} is {found} in the file, {said} in the manifest"
    return None if sums.seq_lo >= export.seq_lo else f"{export.file}: it has the row {sums.seq_lo}, of the file before it"
