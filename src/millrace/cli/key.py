"""`millrace key`: the secrets that callers send."""

from typing import Annotated, Final

import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.money import parse_amount
from millrace.base.times import render_time
from millrace.cli import forms
from millrace.cli.output import Facts, Table, Text, cell
from millrace.cli.shell import Shell, command, group
from millrace.cli.tenant import TenantOption
from millrace.store.transaction import Tx
from millrace.tenants import store
from millrace.tenants.secret import Secret
from millrace.tenants.values import Key, Scope

app: Final = group("key", "API keys: made here, shown once, limited, revoked.")


@command(app, "create", example="millrace key create --tenant acme --models millrace-tiny --rpm 60 --budget 10.00")
def create(
    shell: Shell,
    tenant: TenantOption,
    project: Annotated[str, typer.Option("--project", metavar="NAME", help="Made when it is new.")] = "default",
    models: Annotated[
        str | None, typer.Option("--models", metavar="A,B", help="Only these models; all when left out.")
    ] = None,
    rpm: Annotated[int | None, typer.Option("--rpm", metavar="N", help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option("--tpm", metavar="N", help="Tokens per minute.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="AMOUNT", help="The most it may spend in a UTC month.")
    ] = None,
    scopes: Annotated[
        str, typer.Option("--scopes", metavar="A,B", help="What it opens: inference, read (receipts, balance, usage).")
    ] = "inference,read",
) -> None:
    """Make a key and show its secret, once: what is kept is its hash."""
    budget_nano = None if budget is None else parse_amount(budget, param="--budget")
    opens = _scopes(scopes)

    def work(tx: Tx) -> tuple[Key, Secret]:
        now = shell.clock.now()
        owner = store.tenant_named(tx, tenant)
        home = store.find_or_create_project(tx, shell.ids, now, tenant=owner, name=project)
        return store.create_key(
            tx, shell.ids, now, project=home, scopes=opens, models=None if models is None else _names(models),
            rpm=rpm, tpm=tpm, budget=budget_nano,
        )  # fmt: skip

    with shell.database() as db:
        made, secret = db.write_now(work)
    shell.show(
        {"id": made.id, "key": str(secret), "tenant": tenant, "project": project},
        Facts((("key", str(secret)), ("id", made.id), ("tenant", tenant), ("project", project))),
        Text("The key is shown only now: keep it. 'millrace key revoke ID' ends it."),
    )


@command(app, "list", example="millrace key list --tenant acme")
def list_(shell: Shell, tenant: TenantOption) -> None:
    """Show the keys of a tenant, revoked ones too. Their secrets are nowhere."""

    def look(tx: Tx) -> list[tuple[Key, str]]:
        owner = store.tenant_named(tx, tenant)
        names = {one.id: one.name for one in store.projects(tx, owner)}
        return [(key, names[key.project_id]) for key in store.keys(tx, owner)]

    with shell.database() as db:
        found = db.read(look)
    keys = [forms.key(key, project) for key, project in found]
    rows = [
        (
            one["id"], one["project"], ",".join(one["scopes"]), cell(one["models"] and ",".join(one["models"])),
            cell(one["rpm"]), cell(one["tpm"]), cell(one["budget"]), cell(one["revoked_at"]),
        )
        for one in keys
    ]  # fmt: skip
    headings = ("ID", "PROJECT", "SCOPES", "MODELS", "RPM", "TPM", "BUDGET", "REVOKED")
    shell.show({"tenant": tenant, "keys": keys}, Table(headings, rows, frozenset({4, 5, 6}), empty="There is no key yet."))


@command(app, "revoke", example="millrace key revoke key_01k8m3v2q8e9c7x0t5w4z6y1ab --reason leaked")
def revoke(
    shell: Shell,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, from 'millrace key list'.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks.")] = "by the operator",
) -> None:
    """End a key for good, within a second. A second time changes nothing."""
    with shell.database() as db:
        ended = db.write_now(lambda tx: store.revoke(tx, shell.clock.now(), key_id=key_id, reason=reason))
    shell.show(
        {"id": ended.key_id, "revoked_at": render_time(ended.at), "reason": ended.reason, "repeated": ended.repeated},
        Facts((("key", ended.key_id), ("revoked at", render_time(ended.at)), ("reason", ended.reason))),
    )


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name) for name in _names(text))
    except ValueError:
        known = ", ".join(sorted(Scope))
        raise Refusal(
            Reason.INVALID_REQUEST, f"--scopes: {text[:80]!r} is not a list of {known}, with commas between", param="scopes"
        ) from None
