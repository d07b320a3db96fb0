"""`millrace trial-balance` and `millrace audit`: what the ledger says, and whether everything agrees with it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from millrace.base.errors import Reason, Refusal
from millrace.cli import forms
from millrace.cli.output import Table, Text, cell
from millrace.cli.progress import Progress
from millrace.cli.shell import Shell, command, refuse
from millrace.money.audit.check import Check
from millrace.money.audit.examine import examine, extent
from millrace.money.audit.heads import parse_heads, render_head
from millrace.money.ledger import store as ledger
from millrace.money.ledger.chain import Chain
from millrace.money.ledger.trial_balance import totals

SinceOption = Annotated[
    bool, typer.Option("--since-mark", help="Read only what came since the last audit that found everything in order.")
]
HeadsOption = Annotated[
    Path | None,
    typer.Option(
        "--heads", metavar="FILE", help="A text with chain heads that were noted earlier; the books must go through them."
    ),
]  # fmt: skip

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


def audit(shell: Shell, since_mark: SinceOption = False, heads: HeadsOption = None) -> None:
    """Recompute every invariant of the books from their rows; exit 1 and name the first that does not hold.

    Runs beside a server without holding it up. An audit that finds everything in order leaves a mark to go on from.
    """
    noted = _noted(heads, since_mark=since_mark)
    with shell.database() as db, Progress(sys.stderr) as progress:
        progress.total = extent(db, since_mark=since_mark)
        findings = examine(db, shell.clock.now(), since_mark=since_mark, tell=progress.add, heads=noted)
    heads_form = [render_head(chain) for chain in findings.heads]
    form = {**audit_form(findings.checks), "rows": findings.rows, "heads": heads_form}
    shell.show(form, audit_table(findings.checks))
    failed = next((check for check in findings.checks if not check.ok), None)
    if failed is not None:
        refuse(f"the books do not agree: {failed.name}: {failed.detail}")


def audit_form(checks: Sequence[Check]) -> dict[str, Any]:
    return {"ok": all(check.ok for check in checks), "checks": checks}


def _noted(file: Path | None, *, since_mark: bool) -> list[Chain]:
    if file is None:
        return []
    if since_mark:
        raise Refusal(Reason.INVALID_REQUEST, "--heads needs every row of the books; leave --since-mark out")
    try:
        noted = parse_heads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(Reason.INVALID_REQUEST, f"--heads: {file} cannot be read: {error}") from error
    if not noted:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"--heads: in {file} is no head such as 1:4711:9f86…; take the audit's log lines or its --json",
        )
    return noted


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
