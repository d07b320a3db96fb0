"""Receipt, balance and usage as JSON. The types are what goes over the wire; a client decodes into the same ones.

Amounts come in as integer nano-units and go out as decimal strings of nine places; instants come in as nanoseconds
since the epoch and go out as RFC 3339 in UTC. `encode` of json_body turns a form into bytes.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from millrace.base.money import render_amount
from millrace.base.times import render_time
from millrace.generation.chunk import TokenCounts

Status = Literal["completed", "cancelled", "failed"]
UsageBy = Literal["model", "day", "key"]


class TokensForm(Struct, frozen=True):
    """Tokens by class: `cached_input` is part of `input`, `reasoning` of `output`; `waived` are not billed."""

    input: int
    cached_input: int
    output: int
    reasoning: int
    waived: int


class ReceiptForm(Struct, frozen=True, kw_only=True):
    """What one request consumed and cost; `price` names the version of the price that rated it."""

    request_id: str
    model: str
    status: Status
    counted_by: str
    price: str
    amount: str
    currency: str
    started_at: str
    finished_at: str
    tokens: TokensForm


class BalanceForm(Struct, frozen=True, kw_only=True):
    """What a tenant has, what open requests hold of it, and what is left to spend."""

    tenant: str
    currency: str
    balance: str
    held: str
    available: str


class UsageRowForm(Struct, frozen=True, kw_only=True):
    """One line of a usage report; of `model`, `day` and `key` it has the one that the report is by."""

    model: str | UnsetType = UNSET
    day: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    requests: int
    tokens: TokensForm
    amount: str
    currency: str


class UsageForm(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A usage report over the half-open span from `start` to `end` (on the wire: from, to)."""

    tenant: str
    start: str
    end: str
    rows: list[UsageRowForm]


def receipt_form(
    *,
    request_id: str,
    model: str,
    status: Status,
    counted_by: str,
    price: str,
    amount_nano: int,
    currency: str,
    started_at: int,
    finished_at: int,
    tokens: TokenCounts,
    waived: int = 0,
) -> ReceiptForm:
    """The receipt of a request."""
    return ReceiptForm(
        request_id=request_id,
        model=model,
        status=status,
        counted_by=counted_by,
        price=price,
        amount=render_amount(amount_nano),
        currency=currency,
        started_at=render_time(started_at),
        finished_at=render_time(finished_at),
        tokens=_tokens(tokens, waived),
    )


def balance_form(
    *, tenant: str, currency: str, balance_nano: int, held_nano: int, available_nano: int
) -> BalanceForm:
    """A tenant's balance as the books say it; a credit limit is part of what is available."""
    return BalanceForm(
        tenant=tenant,
        currency=currency,
        balance=render_amount(balance_nano),
        held=render_amount(held_nano),
        available=render_amount(available_nano),
    )


def usage_row_form(
    by: UsageBy, name: str, *, requests: int, tokens: TokenCounts, waived: int = 0, amount_nano: int, currency: str
) -> UsageRowForm:
    """One line, named by a model, a day ('2026-11-23') or a key's id."""
    return UsageRowForm(
        model=name if by == "model" else UNSET,
        day=name if by == "day" else UNSET,
        key=name if by == "key" else UNSET,
        requests=requests,
        tokens=_tokens(tokens, waived),
        amount=render_amount(amount_nano),
        currency=currency,
    )


def usage_form(*, tenant: str, start: int, end: int, rows: Iterable[UsageRowForm]) -> UsageForm:
    """The report, lines in the order given."""
    return UsageForm(tenant=tenant, start=render_time(start), end=render_time(end), rows=list(rows))


def _tokens(counts: TokenCounts, waived: int) -> TokensForm:
    return TokensForm(counts.input, counts.cached_input, counts.output, counts.reasoning, waived)
