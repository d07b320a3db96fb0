"""`millrace usage`, `receipt` and `balance`: what was consumed, what it came to, what is left."""

from enum import StrEnum
from typing import Annotated

import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.times import month_of, parse_time
from millrace.cli import forms
from millrace.cli.output import Facts, Table
from millrace.cli.shell import Shell, command
from millrace.cli.tenant import TenantOption
from millrace.money.grants import store as grants
from millrace.money.metering import store as metering
from millrace.money.metering.usage import UsageSum
from millrace.money.retention import store as retention
from millrace.money.rollups import store as rollups
from millrace.store.transaction import Tx
from millrace.tenants.store import tenant_named
from millrace.wire.answer_ids import parse_receipt_id
from millrace.wire.receipts import BalanceForm, ReceiptForm


class By(StrEnum):
    """What usage is summed by."""

    MODEL = "model"
    DAY = "day"
    KEY = "key"


def register(app: typer.Typer) -> None:
    command(app, "usage", example="millrace usage --tenant demo --from 2026-11-01 --by day")(usage)
    command(app, "receipt", example="millrace receipt req_01k8m3v2q8e9c7x0t5w4z6y1ab")(receipt)
    command(app, "balance", example="millrace balance --tenant demo")(balance)


def usage(
    shell: Shell,
    tenant: TenantOption,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="D", help="A date or RFC 3339 time; the month's first when left out.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="D", help="Up to, not including; the month's end.")] = None,
    by: Annotated[By, typer.Option("--by", help="What is summed.")] = By.MODEL,
) -> None:
    """Show what a tenant consumed and what it came to, in a span of time."""
    month = month_of(shell.clock.now())
    start = month.start if from_ is None else parse_time(from_, param="--from")
    end = month.end if to is None else parse_time(to, param="--to")
    if end < start:
        raise Refusal(Reason.INVALID_REQUEST, "--to: it lies before --from", param="to")

    def look(tx: Tx) -> list[UsageSum]:
        return rollups.sums(tx, tenant_named(tx, tenant).id, start, end, by.value)

    with shell.database() as db:
        found = db.read(look)
    form = forms.usage(tenant, start, end, by.value, found)
    rows = [
        (
            one.key, str(one.requests), str(one.tokens.input), str(one.tokens.cached_input), str(one.tokens.output),
            str(one.tokens.reasoning), str(one.waived), line.amount, line.currency,
        )
        for one, line in zip(found, form.rows, strict=True)
    ]  # fmt: skip
    headings = (by.value.upper(), "REQUESTS", "INPUT", "CACHED", "OUTPUT", "REASONING", "WAIVED", "AMOUNT", "CURRENCY")
    empty = f"There was no request from {form.start} to {form.end}."
    shell.show(form, Table(headings, rows, frozenset(range(1, 8)), empty=empty))


def receipt(
    shell: Shell,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The x-request-id of the answer, or its id.")],
) -> None:
    """Show what one request consumed and cost."""
    wanted = parse_receipt_id(request_id)
    with shell.database() as db:
        found = db.read(lambda tx: metering.by_request(tx, wanted))
        archived = db.read(lambda tx: retention.archived(tx, wanted)) if found is None else None
    if archived is not None:
        raise Refusal(
            Reason.NOT_FOUND, f"the usage of {wanted} is archived: its row is in the file {archived[1]}, no longer here"
        )
    if found is None:
        raise Refusal(
            Reason.NOT_FOUND,
            f"there is no receipt of {request_id[:80]!r}; a request has one once it ended and something was held for it",
        )
    form = forms.receipt(found)
    shell.show(form, receipt_facts(form))


def balance(shell: Shell, tenant: TenantOption) -> None:
    """Show what a tenant has, what running requests hold of it, and what is left to spend."""

    def look(tx: Tx) -> BalanceForm:
        owner = tenant_named(tx, tenant)
        return forms.balance(grants.balance(tx, owner.id, owner.currency, shell.clock.now()), owner.name)

    with shell.database() as db:
        form = db.read(look)
    shell.show(form, balance_facts(form))


def receipt_facts(form: ReceiptForm) -> Facts:
    """A receipt, line by line."""
    tokens = form.tokens
    return Facts(
        (
            ("request", form.request_id), ("model", form.model), ("status", form.status),
            ("input tokens", f"{tokens.input}, of them cached {tokens.cached_input}"),
            ("output tokens", f"{tokens.output}, of them reasoning {tokens.reasoning}"),
            ("waived tokens", str(tokens.waived)), ("counted by", form.counted_by), ("price", form.price),
            ("amount", f"{form.amount} {form.currency}"), ("started", form.started_at), ("finished", form.finished_at),
        )
    )  # fmt: skip


def balance_facts(form: BalanceForm) -> Facts:
    """A balance, line by line."""
    return Facts(
        (
            ("tenant", form.tenant), ("currency", form.currency), ("balance", form.balance), ("held", form.held),
            ("available", form.available),
        )
    )  # fmt: skip
