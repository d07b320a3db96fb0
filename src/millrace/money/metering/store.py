"""Usage rows in the database."""

from collections.abc import Sequence
from typing import Any, Literal

from millrace.base.money import NANO
from millrace.base.times import day_of
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.metering.usage import Status, Usage, UsageSum
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.metering")
_DAY_NS = 86_400_000_000_000

By = Literal["model", "day", "key"]


def insert(tx: Tx, usage: Usage) -> None:
    """Write the row. Raises `Conflict` when the request has one already: a request is billed once."""
    tx.run(
        _SQL["insert"],
        request_id=usage.request_id, tenant_id=usage.tenant_id, project_id=usage.project_id, key_id=usage.key_id,
        model=usage.model, status=usage.status, counted_by=usage.counted_by,
        input=usage.tokens.input, cached_input=usage.tokens.cached_input,
        output=usage.tokens.output, reasoning=usage.tokens.reasoning, waived=usage.waived,
        price_id=usage.price_id, tier=usage.tier, amount=usage.amount, currency=usage.currency,
        epoch=usage.epoch, started_at=usage.started_at, finished_at=usage.finished_at,
    )  # fmt: skip


def by_request(tx: Tx, request_id: str) -> Usage | None:
    row = tx.row(_SQL["by_request"], request_id=request_id)
    return None if row is None else _usage(row)


def in_span(tx: Tx, tenant_id: str, start: int, end: int) -> list[Usage]:
    """A tenant's rows that finished in [start, end), in the order they were written."""
    return [_usage(row) for row in tx.rows(_SQL["in_span"], tenant_id=tenant_id, start=start, end=end)]


def sums(tx: Tx, tenant_id: str, start: int, end: int, by: By) -> list[UsageSum]:
    """A tenant's usage that finished in [start, end), summed by model, UTC day or key."""
    return [_sum(row, by) for row in tx.rows(_SQL[f"sums_by_{by}"], tenant_id=tenant_id, start=start, end=end)]


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
