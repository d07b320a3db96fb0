"""Usage rows in the database."""

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal

from millrace.base.money import NANO
from millrace.base.times import day_of
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.metering.usage import Status, Usage, UsageSum
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.metering")
_DAY_NS = 86_400_000_000_000

By = Literal["model", "day", "key"]


_COLUMNS: Final = (
    "request_id", "tenant_id", "project_id", "key_id", "model", "status", "counted_by", "input", "cached_input", "output",
    "reasoning", "waived", "price_id", "tier", "amount", "currency", "epoch", "started_at", "finished_at",
)  # fmt: skip


def insert(tx: Tx, rows: Sequence[Usage]) -> None:
    """Write the rows. Raises `Conflict` when a request has one already: a request is billed once."""
    tx.insert(
        "usage",
        _COLUMNS,
        [
            (
                one.request_id, one.tenant_id, one.project_id, one.key_id, one.model, one.status.value, one.counted_by.value,
                one.tokens.input, one.tokens.cached_input, one.tokens.output, one.tokens.reasoning, one.waived,
                one.price_id, one.tier, one.amount, one.currency, one.epoch, one.started_at, one.finished_at,
            )
            for one in rows
        ],
    )  # fmt: skip


def by_requests(tx: Tx, request_ids: Collection[str]) -> dict[str, Usage]:
    """The rows of those among the requests that have one."""
    rows = tx.rows(_SQL["by_requests"], ids=list(request_ids)) if request_ids else []
    return {row[0]: _usage(row) for row in rows}


def by_request(tx: Tx, request_id: str) -> Usage | None:
    row = tx.row(_SQL["by_request"], request_id=request_id)
    return None if row is None else _usage(row)


def in_span(tx: Tx, tenant_id: str, start: int, end: int) -> list[Usage]:
    """A tenant's rows that finished in [start, end), in the order they were written."""
    return [_usage(row) for row in tx.rows(_SQL["in_span"], tenant_id=tenant_id, start=start, end=end)]


def sums(tx: Tx, tenant_id: str, start: int, end: int, by: By) -> list[UsageSum]:
    """A tenant's usage that finished in [start, end), summed by model, UTC day or key."""
    return [_sum(row, by) for row in tx.rows(_SQL[f"sums_by_{by}"], tenant_id=tenant_id, start=start, end=end)]


def count_made(tx: Tx, epoch: int, rows: Sequence[tuple[str, str, int, int, int]]) -> None:
    """Add to what engines made in an epoch: model, UTC day, requests, input and output tokens."""
    tx.run_many(
        _SQL["count_made"],
        [
            {"epoch": epoch, "model": model, "day": day, "requests": requests, "input": input_, "output": output}
            for model, day, requests, input_, output in rows
        ],
    )


def _usage(row: Sequence[Any]) -> Usage:
    return Usage(
        request_id=row[0], tenant_id=row[1], project_id=row[2], key_id=row[3], model=row[4],
        status=Status(row[5]), counted_by=CountedBy(row[6]), tokens=TokenCounts(*row[7:11]), waived=row[11],
        price_id=row[12], tier=row[13], amount=row[14], currency=row[15], epoch=row[16],
        started_at=row[17], finished_at=row[18], invoice_id=row[19],
    )  # fmt: skip


def _sum(row: Sequence[Any], by: By) -> UsageSum:
    key = day_of(row[0] * _DAY_NS) if by == "day" else row[0]
    return UsageSum(
        key=key, currency=row[1], requests=row[2], tokens=TokenCounts(*row[3:7]), waived=row[7],
        amount=row[8] * NANO + row[9],
    )  # fmt: skip
