"""`millrace trial-balance` and `millrace audit`: what the ledger says, and whether everything agrees with it."""

from collections.abc import Sequence
from typing import Any, Final

import typer

from millrace.cli import forms
from millrace.cli.output import Table, Text, cell
from millrace.cli.shell import Shell, command, refuse
from millrace.money.audit.check import Check
from millrace.money.audit.store import audit as run_audit
from millrace.money.ledger import store as ledger
from millrace.money.ledger.trial_balance import totals

_SIDES: Final = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
_HEADINGS: Final = ("ACCOUNT", "CURRENCY", "DEBITS", "CREDITS", "DEBITS PENDING", "CREDITS PENDING")


def register(app: typer.Typer) -> None:
    command(app, "trial-balance", example="millrace trial-balance")(trial_balance)
    command(app, "audit", example="millrace audit")(audit)


def trial_balance(shell: Shell) -> None:
    """Show every account with its debits and credits, and the sums of each currency."""
    with shell.database() as db:
        accounts = db.read(ledger.accounts)
    form = forms.trial_balance(accounts, totals(accounts))
    shell.show(form, trial_balance_table(form), Text(verdict(form)))


def audit(shell: Shell) -> None:
    """Recompute every invariant of the books from their rows; exit 1 and name the first that does not hold."""
    with shell.database() as db:
        checks = db.read(run_audit)
    shell.show(audit_form(checks), audit_table(checks))
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None:
        refuse(f"the books do not agree: {failed.name}: {failed.detail}")


def audit_form(checks: Sequence[Check]) -> dict[str, Any]:
    return {"ok": all(check.ok for check in checks), "checks": checks}


def audit_table(checks: Sequence[Check]) -> Table:
    rows = [("ok" if one.ok else "FAILED", str(one.checked), one.name, cell(one.detail)) for one in checks]
    return Table(("RESULT", "CHECKED", "INVARIANT", "FIRST DISAGREEMENT"), rows, frozenset({1}))


def trial_balance_table(form: dict[str, Any]) -> Table:
    """The accounts, and a line of sums for each currency below them."""
    rows = [(one["id"], one["currency"], *(one[side] for side in _SIDES)) for one in form["accounts"]]
    rows += [("TOTAL", one["currency"], *(one[side] for side in _SIDES)) for one in form["totals"]]
    return Table(_HEADINGS, rows, frozenset({2, 3, 4, 5}), empty="The ledger has no account yet.")


def verdict(form: dict[str, Any]) -> str:
    off = [one["currency"] for one in form["totals"] if not one["balanced"]]
    return f"NOT BALANCED: {', '.join(off)}" if off else "Debits equal credits in every currency."
