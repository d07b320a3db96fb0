"""`millrace grant`: prepaid value."""

from typing import Annotated, Final

import typer

from millrace.base.money import parse_amount, render_amount
from millrace.base.times import parse_time
from millrace.cli import forms
from millrace.cli.output import Facts, Table, cell
from millrace.cli.shell import Shell, command, group
from millrace.cli.tenant import TenantOption
from millrace.money.grants import store
from millrace.money.grants.grant import Funding, Grant
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.store.once import write_once
from millrace.store.transaction import Tx
from millrace.tenants.store import tenant_named

app: Final = group("grant", "Prepaid credit: paid by the customer, given by the operator, or by a sponsor.")


@command(app, "create", example="millrace grant create --tenant acme --amount 100.00 --idempotency-key payment-4711")
def create(
    shell: Shell,
    tenant: TenantOption,
    amount: Annotated[str, typer.Option("--amount", metavar="AMOUNT", help="How much, in the tenant's currency.")],
    funding: Annotated[Funding, typer.Option("--funding", help="Whose money it is.")] = Funding.CUSTOMER,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DATE", help="Until when: 2026-12-31 (midnight UTC) or an RFC 3339 time.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="K", help="The same key again makes no second grant.")
    ] = None,
) -> None:
    """Give a tenant something to spend."""
    nano = parse_amount(amount, param="--amount")
    expires_at = None if expires is None else parse_time(expires, param="--expires")

    def work(tx: Tx) -> Grant:
        owner = tenant_named(tx, tenant)
        wanted = store.new_grant(
            id=shell.ids.new("grant"), tenant_id=owner.id, amount=nano, currency=owner.currency, funding=funding,
            now=shell.clock.now(), expires_at=expires_at, idempotency_key=idempotency_key,
        )  # fmt: skip
        return store.give(tx, wanted)

    with shell.database() as db:
        made = write_once(db, work)
    form = forms.grant(made, tenant)
    shell.show(form, Facts([(name.replace("_", " "), cell(value)) for name, value in form.items()]))


@command(app, "list", example="millrace grant list --tenant acme")
def list_(shell: Shell, tenant: TenantOption) -> None:
    """Show the grants of a tenant and what is left of each."""

    def look(tx: Tx) -> list[tuple[Grant, int]]:
        return [(one, _left(tx, one)) for one in store.of_tenant(tx, tenant_named(tx, tenant).id)]

    with shell.database() as db:
        found = [{**forms.grant(one, tenant), "left": render_amount(left)} for one, left in db.read(look)]
    rows = [(one["id"], one["amount"], one["left"], one["currency"], one["funding"], cell(one["expires_at"])) for one in found]
    headings = ("ID", "AMOUNT", "LEFT", "CURRENCY", "FUNDING", "EXPIRES")
    shell.show({"tenant": tenant, "grants": found}, Table(headings, rows, frozenset({1, 2}), empty="There is no grant yet."))


def _left(tx: Tx, one: Grant) -> int:
    """What was neither spent nor expired; running requests may hold a part of it."""
    account = ledger.account(tx, names.grant(one.id))
    return 0 if account is None else account.credits_posted - account.debits_posted
