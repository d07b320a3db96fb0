"""`millrace tenant`: who pays."""

from typing import Annotated, Any, Final

import typer

from millrace.base.money import parse_amount
from millrace.base.times import render_time
from millrace.cli import forms
from millrace.cli.output import Facts, Table, cell
from millrace.cli.shell import Shell, command, group
from millrace.money.billing.store import open_credit
from millrace.money.grants import store as grants
from millrace.store.transaction import Tx
from millrace.tenants import store
from millrace.tenants.values import Mode, Tenant

app: Final = group("tenant", "Who pays: organisations with projects, keys, a currency and a way to pay.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.")]
TenantOption = Annotated[str, typer.Option("--tenant", metavar="NAME", help="The tenant's name.")]


@command(app, "create", example="millrace tenant create acme --mode postpaid --credit-limit 500.00")
def create(
    shell: Shell,
    name: NameArgument,
    mode: Annotated[Mode, typer.Option("--mode", help="Pay from grants, or by invoice up to a limit.")] = Mode.PREPAID,
    currency: Annotated[str, typer.Option("--currency", metavar="CODE", help="What it is charged in.")] = "CNY",
    credit_limit: Annotated[
        str, typer.Option("--credit-limit", metavar="AMOUNT", help="How much a postpaid tenant may owe.")
    ] = "0",
) -> None:
    """Make a tenant. It can spend once it has a grant, or a credit limit."""
    limit = parse_amount(credit_limit, param="--credit-limit")

    def work(tx: Tx) -> Tenant:
        made = store.create_tenant(
            tx, shell.ids, shell.clock.now(), name=name, mode=mode, currency=currency, credit_limit=limit
        )
        if mode is Mode.POSTPAID:
            open_credit(tx, made.id, made.currency, made.credit_limit)
        return made

    with shell.database(make=True) as db:
        made = db.write_now(work)
    shell.show(forms.tenant(made), _facts(made))


@command(app, "list", example="millrace tenant list --json")
def list_(shell: Shell) -> None:
    """Show all tenants."""
    with shell.database() as db:
        found = db.read(store.tenants)
    rows = [
        (one.name, one.mode.value, one.currency, forms.tenant(one)["credit_limit"], _state(one), render_time(one.created_at))
        for one in found
    ]
    table = Table(
        ("NAME", "MODE", "CURRENCY", "CREDIT LIMIT", "STATE", "CREATED"), rows, frozenset({3}),
        empty="There is no tenant yet; 'millrace tenant create NAME' makes one.",
    )  # fmt: skip
    shell.show({"tenants": [forms.tenant(one) for one in found]}, table)


@command(app, "show", example="millrace tenant show demo")
def show(shell: Shell, name: NameArgument) -> None:
    """Show one tenant with its projects, keys, balance and suspensions."""

    def look(tx: Tx) -> tuple[Tenant, dict[str, Any]]:
        one = store.tenant_named(tx, name)
        has = grants.balance(tx, one.id, one.currency, shell.clock.now())
        keys = store.keys(tx, one)
        return one, {
            **forms.tenant(one),
            "balance": forms.balance(has, one.name),
            "projects": [forms.project(project) for project in store.projects(tx, one)],
            "keys": {"live": sum(key.revoked_at is None for key in keys), "all": len(keys)},
            "suspensions": [forms.suspension(suspension) for suspension in store.suspensions(tx, one)],
        }

    with shell.database() as db:
        found, form = db.read(look)
    balance = form["balance"]
    more = Facts(
        (
            *_facts(found).lines,
            ("balance", balance.balance), ("held", balance.held), ("available", balance.available),
            ("projects", cell(", ".join(project["name"] for project in form["projects"]))),
            ("keys", f"{form['keys']['live']} live of {form['keys']['all']}"),
            *((f"suspended {one['at']}", f"{one['reason']} (until {cell(one['lifted_at'])})") for one in form["suspensions"]),
        )
    )  # fmt: skip
    shell.show(form, more)


@command(app, "suspend", example="millrace tenant suspend acme --reason 'invoice MR-2026-000004 is overdue'")
def suspend(
    shell: Shell,
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks.")] = "by the operator",
) -> None:
    """Refuse a tenant service from now on. Its running requests end as they would."""
    with shell.database() as db:
        made = db.write_now(
            lambda tx: store.suspend(
                tx, shell.ids, shell.clock.now(), tenant=store.tenant_named(tx, name), reason=reason
            )
        )
    shell.show(
        {"tenant": name, **forms.suspension(made)},
        Facts((("tenant", name), ("suspended at", render_time(made.at)), ("reason", made.reason))),
    )


@command(app, "resume", example="millrace tenant resume acme")
def resume(shell: Shell, name: NameArgument) -> None:
    """Serve a suspended tenant again."""
    with shell.database() as db:
        lifted = db.write_now(lambda tx: store.resume(tx, shell.clock.now(), tenant=store.tenant_named(tx, name)))
    form = {"tenant": name, **forms.suspension(lifted)}
    shell.show(form, Facts((("tenant", name), ("resumed at", cell(form["lifted_at"])))))


def _state(one: Tenant) -> str:
    return "suspended" if one.suspended else "active"


def _facts(one: Tenant) -> Facts:
    return Facts(
        (
            ("tenant", one.name), ("id", one.id), ("mode", one.mode.value), ("currency", one.currency),
            ("credit limit", forms.tenant(one)["credit_limit"]), ("state", _state(one)),
            ("created", render_time(one.created_at)),
        )
    )  # fmt: skip
