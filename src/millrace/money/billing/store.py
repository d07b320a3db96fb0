"""Open holds in the database, what a postpaid tenant may owe, and what a fenced server had released."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.money.billing.hold import Leg, OpenHold
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.metering import store as metering
from millrace.money.metering.journal import Watermark, read_record
from millrace.money.metering.usage import Status
from millrace.store.named import Queries
from millrace.store.transaction import Tx, Values

CREDIT_LIMIT_MAX = 2**62
"""What the ledger lets an account be overdrawn by: 4.6 thousand million units of a currency."""

_SQL = Queries("millrace.money.billing")

_HOLD_COLUMNS: Final = (
    "request_id", "tenant_id", "project_id", "key_id", "model", "price_id", "input_bound", "output_bound", "amount", "currency",
    "legs", "draws", "budget_month", "epoch", "started_at",
)  # fmt: skip

_draws_of = msgspec.json.Decoder(tuple[Leg, ...]).decode
_render_draws = msgspec.json.Encoder().encode


def open_credit(tx: Tx, tenant_id: str, currency: str, credit_limit: int) -> None:
    """The account of what a postpaid tenant owes; it can go as far below zero as the credit limit."""
    if credit_limit > CREDIT_LIMIT_MAX:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"credit_limit: {render_amount(credit_limit)} is more than an account can be overdrawn "
            f"({render_amount(CREDIT_LIMIT_MAX)})",
            param="credit_limit",
        )
    ledger.open_account(tx, names.receivable(tenant_id, currency), currency, overdraft=credit_limit)


def lock_holds(tx: Tx, request_ids: Collection[str]) -> dict[str, OpenHold]:
    """The open holds among these requests, nobody else's to change until the transaction ends."""
    rows = tx.rows(_SQL["lock_holds"], ids=list(request_ids)) if request_ids else []
    return {row[0]: _open_hold(row) for row in rows}


def insert_holds(tx: Tx, made: Sequence[OpenHold]) -> None:
    if made:
        tx.insert("open_hold", _HOLD_COLUMNS, [_hold_row(one) for one in made])


def extend_holds(tx: Tx, extended: Collection[OpenHold]) -> None:
    tx.run_many(_SQL["extend_hold"], [_extension(one) for one in extended])


def delete_holds(tx: Tx, request_ids: Sequence[str]) -> None:
    if request_ids:
        tx.run(_SQL["delete_holds"], ids=request_ids)


def flush(tx: Tx, epoch: int, marks: Sequence[tuple[str, bytes]]) -> None:
    """Note how far requests of the epoch that are open have come: request, record of the journal."""
    tx.run_many(_SQL["flush"], [{"request_id": id_, "watermark": mark, "epoch": epoch} for id_, mark in marks])


def holds_of(tx: Tx, epoch: int) -> list[OpenHold]:
    """The open holds of an epoch."""
    return [_open_hold(row) for row in tx.rows(_SQL["holds_of"], epoch=epoch)]


def left_by(tx: Tx, epoch: int, after: str, limit: int) -> list[tuple[str, Watermark | None]]:
    """Requests that an epoch left open, after one of them, with how far each had come when that was last flushed."""
    rows = tx.rows(_SQL["some_holds_of"], epoch=epoch, after=after, limit=limit)
    return [(request_id, None if mark is None else read_record(bytes(mark))[1]) for request_id, mark in rows]


def waive(tx: Tx, recorded: Mapping[str, int], now: int) -> int:
    """Note what a fenced server had recorded for release of requests that others settle; returns the late waived tokens.

    Those that are settled otherwise, and those of which all is billed or waived, are passed over.
    """
    settled = metering.by_requests(tx, list(recorded))
    late = 0
    noted: list[Values] = []
    for request_id, tokens in sorted(recorded.items()):
        usage = settled.get(request_id)
        if usage is not None and usage.status is not Status.FAILED:
            continue
        missed = tokens if usage is None else tokens - usage.tokens.input - usage.tokens.output - usage.waived
        if missed > 0:
            noted.append({"request_id": request_id, "recorded": tokens, "at": now})
            late += missed
    tx.run_many(_SQL["waive"], noted)
    return late


def _hold_row(one: OpenHold) -> tuple[str | int | None, ...]:
    return (
        one.request_id, one.tenant_id, one.project_id, one.key_id, one.model, one.price_id, one.input_bound, one.output_bound,
        one.amount, one.currency, one.legs, _render_draws(one.draws).decode(), one.budget_month, one.epoch, one.started_at,
    )  # fmt: skip


def _extension(one: OpenHold) -> dict[str, str | int | bytes | None]:
    return {
        "request_id": one.request_id, "output_bound": one.output_bound, "amount": one.amount, "legs": one.legs,
        "draws": _render_draws(one.draws).decode(),
    }  # fmt: skip


def _open_hold(row: Sequence[Any]) -> OpenHold:
    return OpenHold(
        request_id=row[0], tenant_id=row[1], project_id=row[2], key_id=row[3], model=row[4], price_id=row[5],
        input_bound=row[6], output_bound=row[7], amount=row[8], currency=row[9], draws=_draws_of(row[10]), budget_month=row[11],
        epoch=row[12], started_at=row[13],
    )  # fmt: skip
