"""Models that tenants tuned, as the operator sees them: all of them, in `millrace model list`, `show` and `remove`."""

from collections.abc import Sequence
from typing import Any

from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal
from millrace.base.times import render_time
from millrace.catalog.tuned import store
from millrace.catalog.tuned.files import AdapterFiles
from millrace.catalog.tuned.values import TunedModel
from millrace.cli.output import Facts, Table, Text
from millrace.cli.shell import Shell
from millrace.store.transaction import Tx
from millrace.tenants.store import tenant_with_id

Form = dict[str, Any]


def tuned_forms(shell: Shell) -> list[Form]:
    """Oldest first; none where there is no database yet."""
    if not shell.has_database():
        return []
    with shell.database() as db:
        return db.read(lambda tx: [_form(tx, model) for model in store.of_all(tx)])


def tuned_table(forms: Sequence[Form]) -> Table:
    rows = [(form["name"], form["base"], form["tenant"], form["created_at"]) for form in forms]
    return Table(("TUNED", "BASE", "TENANT", "CREATED"), rows)


def show_tuned(shell: Shell, name: str) -> None:
    """One of them, with its adapter's file."""
    with shell.database() as db:
        form = db.read(lambda tx: _form(tx, _named(tx, name)))
    form["path"] = str(AdapterFiles(shell.home_path).path(form["sha256"]))
    shell.show(form, Facts([(key.replace("_", " "), str(value)) for key, value in form.items()]))


def remove_tuned(shell: Shell, name: str) -> None:
    """End its offer, for good. Servers notice within a second; its file goes when no model needs it, an hour after it came."""
    now = shell.clock.now()

    def removed(tx: Tx) -> tuple[Form, frozenset[str]]:
        model = _named(tx, name)
        store.remove(tx, model, now)
        return _form(tx, model), store.files_in_use(tx)

    with shell.database() as db:
        form, in_use = db.write_now(removed)
    AdapterFiles(shell.home_path).sweep(in_use, now // NS_PER_S)
    shell.show({"removed": form}, Text(f"{name} is removed; servers offer it no more within a second."))


def _named(tx: Tx, name: str) -> TunedModel:
    model = store.named(tx, name)
    if model is None:
        raise Refusal(Reason.NOT_FOUND, f"there is no tuned model {name[:128]!r}; `millrace model list` shows them all")
    return model


def _form(tx: Tx, model: TunedModel) -> Form:
    return {
        "name": model.name,
        "base": model.base,
        "tenant": tenant_with_id(tx, model.tenant_id).name,
        "job": model.job_id,
        "sha256": model.sha256,
        "created_at": render_time(model.created_at),
    }
