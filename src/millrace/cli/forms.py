"""The JSON forms that only the command line prints; receipts, balances and usage have theirs in wire/receipts.py.

Amounts are decimal strings with nine places, times RFC 3339 in UTC, and what is not there is null, never missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from millrace.base.money import render_amount
from millrace.base.times import render_time
from millrace.catalog.model import Model
from millrace.money.grants.grant import Balance, Grant
from millrace.money.invoices.store import Invoice
from millrace.money.ledger.entries import Account
from millrace.money.ledger.trial_balance import CurrencyTotal
from millrace.money.metering.store import By
from millrace.money.metering.usage import Usage, UsageSum
from millrace.money.rating.book import PPM, PriceVersion
from millrace.money.rating.what_if import Comparison
from millrace.tenants.values import Key, Project, Suspension, Tenant
from millrace.wire.receipts import (
    BalanceForm,
    ReceiptForm,
    UsageForm,
    balance_form,
    receipt_form,
    usage_form,
    usage_row_form,
)

Form = dict[str, Any]


def time_or_none(instant: int | None) -> str | None:
    return None if instant is None else render_time(instant)


def amount_or_none(nano: int | None) -> str | None:
    return None if nano is None else render_amount(nano)


def tenant(one: Tenant) -> Form:
    return {
        "id": one.id,
        "name": one.name,
        "mode": one.mode.value,
        "currency": one.currency,
        "credit_limit": render_amount(one.credit_limit),
        "suspended": one.suspended,
        "created_at": render_time(one.created_at),
    }


def project(one: Project) -> Form:
    return {"id": one.id, "name": one.name, "created_at": render_time(one.created_at)}


def suspension(one: Suspension) -> Form:
    return {"id": one.id, "reason": one.reason, "at": render_time(one.at), "lifted_at": time_or_none(one.lifted_at)}


def key(one: Key, project_name: str) -> Form:
    """A key without its secret, which nobody has any more."""
    return {
        "id": one.id,
        "project": project_name,
        "scopes": sorted(one.scopes),
        "models": None if one.models is None else sorted(one.models),
        "rpm": one.rpm,
        "tpm": one.tpm,
        "budget": amount_or_none(one.budget),
        "created_at": render_time(one.created_at),
        "revoked_at": time_or_none(one.revoked_at),
    }


def grant(one: Grant, tenant_name: str) -> Form:
    return {
        "id": one.id,
        "tenant": tenant_name,
        "amount": render_amount(one.amount),
        "currency": one.currency,
        "funding": one.funding.value,
        "expires_at": time_or_none(one.expires_at),
    }


def balance(one: Balance, tenant_name: str) -> BalanceForm:
    return balance_form(
        tenant=tenant_name, currency=one.currency, balance_nano=one.balance, held_nano=one.held, available_nano=one.available
    )


def receipt(one: Usage) -> ReceiptForm:
    return receipt_form(
        request_id=one.request_id, model=one.model, status=one.status.value, counted_by=one.counted_by.value,
        price=one.price_id, amount_nano=one.amount, currency=one.currency, started_at=one.started_at,
        finished_at=one.finished_at, tokens=one.tokens, waived=one.waived,
    )  # fmt: skip


def usage(tenant_name: str, start: int, end: int, by: By, sums: Iterable[UsageSum]) -> UsageForm:
    rows = [
        usage_row_form(
            by, one.key, requests=one.requests, tokens=one.tokens, waived=one.waived, amount_nano=one.amount,
            currency=one.currency,
        )
        for one in sums
    ]  # fmt: skip
    return usage_form(tenant=tenant_name, start=start, end=end, rows=rows)


def price(one: PriceVersion) -> Form:
    """Prices are per 1,000,000 tokens."""
    return {
        "id": one.id,
        "model": one.model,
        "currency": one.currency,
        "version": one.version,
        "effective_from": render_time(one.effective_from),
        "batch_multiplier": f"{one.batch_ppm // PPM}.{one.batch_ppm % PPM:06d}",
        "tiers": [
            {
                "up_to_input_tokens": tier.up_to_input_tokens,
                "input": render_amount(tier.input),
                "cached_input": render_amount(tier.cached_input),
                "output": render_amount(tier.output),
            }
            for tier in one.tiers
        ],
    }


def comparison(one: Comparison) -> Form:
    return {
        "model": one.model,
        "currency": one.currency,
        "requests": one.requests,
        "current": render_amount(one.current),
        "new": render_amount(one.new),
        "difference": render_amount(one.new - one.current),
    }


def model(one: Model, prices: Sequence[PriceVersion]) -> Form:
    """`prices` are those in force, one for each currency."""
    return {
        "name": one.name,
        "engine": one.engine,
        "context_tokens": one.context_tokens,
        "max_output_tokens": one.max_output_tokens,
        "slots": one.slots,
        "embeds": one.embeds,
        "path": None if one.path is None else str(one.path),
        "pulled": one.pulled,
        "url": one.url,
        "upstream": one.upstream,
        "prices": [price(version) for version in prices],
    }


def invoice(one: Invoice) -> Form:
    """The line of an invoice in a list; `invoice show` has the whole document."""
    document = one.document
    return {
        "id": document.id,
        "number": document.number,
        "tenant": document.customer_name,
        "period": document.period.name,
        "currency": document.currency,
        "total": render_amount(document.total),
        "due": render_amount(document.due),
        "issued_at": render_time(document.issued_at),
        "voided_at": None if one.void is None else render_time(one.void.at),
    }


def whole_invoice(one: Invoice, document: Mapping[str, Any]) -> Form:
    """The frozen document, its hash, and its void if it has one."""
    void = None if one.void is None else {"reason": one.void.reason, "at": render_time(one.void.at)}
    return {**document, "sha256": one.sha256, "void": void}


def trial_balance(accounts: Iterable[Account], totals: Sequence[CurrencyTotal]) -> Form:
    return {
        "balanced": all(total.balanced for total in totals),
        "accounts": [{"id": one.id, "currency": one.currency, **_sides(one)} for one in accounts],
        "totals": [{"currency": one.currency, "balanced": one.balanced, **_sides(one)} for one in totals],
    }


def _sides(one: Account | CurrencyTotal) -> Form:
    return {
        "debits_posted": render_amount(one.debits_posted),
        "credits_posted": render_amount(one.credits_posted),
        "debits_pending": render_amount(one.debits_pending),
        "credits_pending": render_amount(one.credits_pending),
    }
