"""Exports and what was deleted since, in the database. Each function is part of the caller's one transaction."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from millrace.money.retention.values import Export, Row, parse_amounts, render_amounts
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.retention")


class Range(NamedTuple):
    """Rows from `seq_lo` to `seq_hi`, both included."""

    seq_lo: int
    seq_hi: int


def exports(tx: Tx) -> list[Export]:
    """All of them, in the order of their ranges."""
    return [_export(row) for row in tx.rows(_SQL["exports"])]


def next_range(tx: Tx, closed: int, rows: int) -> Range | None:
    """What is to be exported next: so many rows, none above `closed`; None when there is none."""
    seq_lo = tx.rows(_SQL["next_seq"])[0][0]
    seq_hi = tx.rows(_SQL["end_of_range"], seq_lo=seq_lo, closed=closed, rows=rows)[0][0]
    return None if seq_hi is None else Range(seq_lo, seq_hi)


def usage_rows(tx: Tx, span: Range, rows: int) -> list[Row]:
    """The first so many of the range, with the columns of a file."""
    return list(tx.rows(_SQL["rows"], seq_lo=span.seq_lo, seq_hi=span.seq_hi, rows=rows))


def record(tx: Tx, export: Export) -> bool:
    """Have the file be the one of its range; False, and nothing is recorded, when that has one already."""
    made = tx.run(
        _SQL["record"],
        seq_lo=export.seq_lo, seq_hi=export.seq_hi, file=export.file, sha256=export.sha256, size=export.size,
        requests=export.requests, tokens=export.tokens, waived=export.waived, amounts=render_amounts(export.amounts),
        finished_lo=export.finished_lo, finished_hi=export.finished_hi, exported_at=export.exported_at,
    )  # fmt: skip
    return made == 1


def drops(tx: Tx) -> dict[int, int]:
    """Of each range that was begun to be dropped, by its `seq_lo`: up to where it is gone."""
    return dict(tx.rows(_SQL["drops"]))


def last_seq(tx: Tx) -> int:
    """The greatest number of usage that is there."""
    return int(tx.rows(_SQL["last_seq"])[0][0])


def not_settled(tx: Tx, span: Range) -> str | None:
    """A request of the range that is still to be invoiced."""
    row = tx.row(_SQL["not_settled"], seq_lo=span.seq_lo, seq_hi=span.seq_hi)
    return None if row is None else str(row[0])


def begin_drop(tx: Tx, export: Export, now: int) -> None:
    """From here on the rows of the range may go."""
    tx.run(_SQL["begin_drop"], seq_lo=export.seq_lo, seq_hi=export.seq_hi, at=now)


def drop(tx: Tx, export: Export, after: int, rows: int) -> int | None:
    """Delete the next so many rows of a range that is gone up to `after`; returns up to where it is gone then.

    None, and nothing is deleted, when one of them is to be invoiced after all, or somebody else deletes them.
    """
    upto = tx.rows(_SQL["end_of_drop"], seq_lo=after + 1, seq_hi=export.seq_hi, rows=rows)[0][0]
    span = Range(after + 1, export.seq_hi if upto is None else upto)
    tx.rows(_SQL["lock_invoices"], seq_lo=span.seq_lo, seq_hi=span.seq_hi)
    if not_settled(tx, span) is not None:
        return None
    if tx.run(_SQL["move_drop"], seq_lo=export.seq_lo, after=after, upto=span.seq_hi) != 1:
        return None
    tx.run(_SQL["archive"], range_lo=export.seq_lo, seq_lo=span.seq_lo, seq_hi=span.seq_hi)
    tx.run(_SQL["add_sums"], seq_lo=span.seq_lo, seq_hi=span.seq_hi)
    tx.run(_SQL["delete"], seq_lo=span.seq_lo, seq_hi=span.seq_hi)
    return span.seq_hi


def archived(tx: Tx, request_id: str) -> tuple[str, str] | None:
    """The tenant of a request whose usage row is no longer here, and the file that has it."""
    row = tx.row(_SQL["archived"], request_id=request_id)
    return None if row is None else (row[0], row[1])


def _export(row: Sequence[Any]) -> Export:
    return Export(
        seq_lo=row[0], seq_hi=row[1], file=row[2], sha256=row[3], size=row[4], requests=row[5], tokens=row[6], waived=row[7],
        amounts=parse_amounts(row[8]), finished_lo=row[9], finished_hi=row[10], exported_at=row[11],
    )  # fmt: skip
