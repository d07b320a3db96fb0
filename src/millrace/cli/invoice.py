"""`millrace invoice`: a month's usage as a frozen document."""

import json
from enum import StrEnum
from typing import Annotated, Final

import typer

from millrace.base.times import Period, parse_month
from millrace.cli import forms
from millrace.cli.output import Table, Text, cell
from millrace.cli.shell import Shell, command, group
from millrace.money.invoices import store
from millrace.money.invoices.draft import Customer
from millrace.money.invoices.store import Invoice
from millrace.money.invoices.text import render_text
from millrace.store.database import Database
from millrace.store.once import write_once
from millrace.store.transaction import Tx
from millrace.tenants.store import tenant_named, tenants

app: Final = group("invoice", "Invoices: issued once, never changed, voided with a reason.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The invoice's id or number (MR-2026-000001).")]


class Format(StrEnum):
    """How a document is printed."""

    TEXT = "text"
    JSON = "json"


@command(app, "run", example="millrace invoice run --period 2026-11")
def run(
    shell: Shell,
    period: Annotated[str, typer.Option("--period", metavar="MONTH", help="The month, such as 2026-11.")],
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Only this one; all when left out.")] = None,
) -> None:
    """Issue what is not invoiced yet of a month's usage. Running it again with nothing new issues nothing."""
    month = parse_month(period, param="--period")
    with shell.database() as db:
        issued = run_period(shell, db, month, tenant)
    shell.show({"period": month.name, "invoices": [forms.invoice(one) for one in issued]}, _table(issued))


@command(app, "list", example="millrace invoice list")
def list_(shell: Shell) -> None:
    """Show every invoice, void ones too."""
    with shell.database() as db:
        found = db.read(store.all_invoices)
    shell.show({"invoices": [forms.invoice(one) for one in found]}, _table(found))


@command(app, "show", example="millrace invoice show MR-2026-000001")
def show(
    shell: Shell,
    invoice_id: IdArgument,
    format_: Annotated[
        Format, typer.Option("--format", help="Text for people, or the JSON as it was frozen and hashed.")
    ] = Format.TEXT,
) -> None:
    """Show one invoice."""
    with shell.database() as db:
        found = db.read(lambda tx: store.show(tx, invoice_id))
    document = found.text if format_ is Format.JSON else _paper(found)
    shell.show(forms.whole_invoice(found, json.loads(found.text)), Text(document))


@command(app, "void", example="millrace invoice void MR-2026-000001 --reason 'wrong address'")
def void(
    shell: Shell,
    invoice_id: IdArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the auditor.")],
) -> None:
    """Take an invoice back. Its number stays used; its usage is free for another invoice."""
    with shell.database() as db:
        voided = write_once(db, lambda tx: store.void(tx, invoice_id, reason, shell.clock.now()))
    shell.show(forms.whole_invoice(voided, json.loads(voided.text)), _table([voided]))


def run_period(shell: Shell, db: Database, month: Period, tenant: str | None) -> list[Invoice]:
    """The invoices of the month, those issued now and earlier; a transaction for each tenant, so that none waits for all."""

    def customers(tx: Tx) -> list[Customer]:
        chosen = tenants(tx) if tenant is None else [tenant_named(tx, tenant)]
        return [Customer(one.id, one.name) for one in chosen]

    def issue(customer: Customer) -> list[Invoice]:
        return write_once(db, lambda tx: store.run(tx, customer, month, shell.clock.now(), shell.ids))

    return [invoice for customer in db.read(customers) for invoice in issue(customer)]


def _paper(one: Invoice) -> str:
    text = render_text(one.document).rstrip("\n")
    return text if one.void is None else f"VOID: {one.void.reason}\n\n{text}"


def _table(invoices: list[Invoice]) -> Table:
    rows = [
        (
            one["number"], one["tenant"], one["period"], one["currency"], one["total"], one["due"], one["issued_at"],
            cell(one["voided_at"]), one["id"],
        )
        for one in map(forms.invoice, invoices)
    ]  # fmt: skip
    headings = ("NUMBER", "TENANT", "PERIOD", "CURRENCY", "TOTAL", "DUE", "ISSUED", "VOIDED", "ID")
    return Table(headings, rows, frozenset({4, 5}), empty="There is no invoice.")
