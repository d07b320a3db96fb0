"""Roll-ups in the database: filled by ranges of `usage.seq`, each row once, and read together with what is not in them yet.

Rows are summed by the database, and the cursor moves in the same transaction from where it was seen, so two rollers never add a
row twice.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO
from millrace.base.times import day_of, render_time
from millrace.generation.chunk import TokenCounts
from millrace.money.metering.store import By
from millrace.money.metering.usage import UsageSum
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.rollups")

BUCKET_NS: Final = 900_000_000_000
_DAY_NS: Final = 86_400_000_000_000

STEP_ROWS: Final = 2_000
"""Usage rows summed in one transaction, which takes some 10 ms: what a request waits for at most."""


class Horizon(NamedTuple):
    """A number of usage, and a mark that tells when every smaller one is there or never will be."""

    seq: int
    mark: int


class Step(NamedTuple):
    """The rows in (after, upto]."""

    after: int
    upto: int


def horizon(tx: Tx) -> Horizon:
    """What is given out by now."""
    return Horizon(*tx.rows(_SQL["horizon"])[0])


def is_closed(tx: Tx, seen: Horizon) -> bool:
    """Whether no row up to there can come any more. Ask in a later snapshot than the one that it was seen in."""
    return bool(tx.rows(_SQL["closed"], mark=seen.mark)[0][0])


def next_step(tx: Tx, closed: int, rows: int = STEP_ROWS) -> Step | None:
    """What is to be added next, of rows up to `closed`, no more than so many; None when there is nothing."""
    after = cursor(tx)
    upto = tx.rows(_SQL["end_of_step"], after=after, closed=closed, rows=rows)[0][0]
    return None if upto is None else Step(after, upto)


def add(tx: Tx, step: Step) -> bool:
    """Sum these rows and add them; False, and nothing is added, when somebody else did."""
    tx.run(_SQL["begin_cursor"])
    if tx.run(_SQL["move_cursor"], after=step.after, upto=step.upto) != 1:
        return False
    tx.run(_SQL["add"], after=step.after, upto=step.upto)
    return True


def cursor(tx: Tx) -> int:
    """Usage up to here is rolled up."""
    row = tx.row(_SQL["cursor"])
    return 0 if row is None else int(row[0])


def sums(tx: Tx, tenant_id: str, start: int, end: int, by: By) -> list[UsageSum]:
    """A tenant's usage that finished in [start, end), summed by model, UTC day or key: exactly what its rows come to.

    Where rows were deleted since, `start` and `end` must be whole quarters of an hour; a Refusal says so.
    """
    first, last = -(-start // BUCKET_NS), end // BUCKET_NS
    if first >= last:
        first = last = 0
    head, tail = (first * BUCKET_NS, last * BUCKET_NS) if last else (end, end)
    _refuse_parts(tx, (start, head), (tail, end))
    rows = tx.rows(
        _SQL["sums"],
        tenant_id=tenant_id, start=start, end=end, first=first, last=last, head=head, tail=tail, cursor=cursor(tx), by=by,
    )  # fmt: skip
    return sorted((_sum(row, by) for row in rows), key=lambda one: (one.key, one.currency))


def served(tx: Tx) -> dict[str, int]:
    """How many requests each model served, of all tenants, as long as usage is kept."""
    return {str(model): int(requests) for model, requests in tx.rows(_SQL["served"], cursor=cursor(tx))}


def _refuse_parts(tx: Tx, *parts: tuple[int, int]) -> None:
    """A part of a quarter whose rows are gone cannot be told from the rest of it."""
    dropped_to = tx.rows(_SQL["dropped_to"])[0][0]
    for begin, end in parts:
        if begin < end and begin <= dropped_to:
            raise Refusal(
                Reason.INVALID_REQUEST,
                f"usage up to {render_time(dropped_to)} is archived and kept by the quarter of an hour; "
                "begin and end at a whole quarter",
                param="from",
            )


def _sum(row: Sequence[Any], by: By) -> UsageSum:
    key = day_of(int(row[0]) * _DAY_NS) if by == "day" else row[0]
    return UsageSum(
        key=key, currency=row[1], requests=row[2], tokens=TokenCounts(*row[3:7]), waived=row[7],
        amount=row[8] * NANO + row[9],
    )  # fmt: skip
