"""`millrace reconcile`: what engines made, what usage says, what the ledger posted, what is on invoices, day by day."""

from typing import Annotated, Any

import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import day_of, month_of, parse_time
from millrace.cli.output import Table, cell
from millrace.cli.shell import Shell, command
from millrace.money.audit.reconcile import MoneyLine, Reconciliation, TokenLine, Tokens
from millrace.money.audit.reconcile import reconcile as reconcile_days

_DAY_NS = 86_400_000_000_000

_TOKENS = (
    "DAY", "MODEL", "ENGINE REQUESTS", "INPUT", "OUTPUT", "USAGE REQUESTS", "INPUT", "OUTPUT", "WAIVED", "DIFFERENCE",
    "ON INVOICES", "INPUT", "OUTPUT",
)  # fmt: skip
_MONEY = ("DAY", "MODEL", "CURRENCY", "USAGE", "LEDGER", "DIFFERENCE", "ON INVOICES", "ROUNDING")


def register(app: typer.Typer) -> None:
    command(app, "reconcile", example="millrace reconcile --from 2026-11-01 --to 2026-11-08")(reconcile)


def reconcile(
    shell: Shell,
    from_: Annotated[str | None, typer.Option("--from", metavar="D", help="The first day; the month's when left out.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="D", help="Up to this day, not including; the month's end.")] = None,
) -> None:
    """Show tokens and money of each model and UTC day by engines, usage, ledger and invoices, and where they differ."""
    month = month_of(shell.clock.now())
    start = month.start if from_ is None else _midnight(from_, "--from")
    end = month.end if to is None else _midnight(to, "--to")
    if end <= start:
        raise Refusal(Reason.INVALID_REQUEST, "--to: it lies before --from", param="to")
    with shell.database() as db:
        found = reconcile_days(db.read, start, end)
    empty = f"There was no request from {day_of(start)} to {day_of(end - 1)}."
    shell.show(
        _form(found),
        Table(_TOKENS, [_token_row(line) for line in found.tokens], frozenset(range(2, 13)), empty=empty),
        Table(_MONEY, [_money_row(line) for line in found.money], frozenset(range(3, 8)), empty=empty),
    )


def _midnight(text: str, param: str) -> int:
    instant = parse_time(text, param=param)
    if instant % _DAY_NS:
        raise Refusal(Reason.INVALID_REQUEST, f"{param}: {text!r} is not a day such as 2026-11-23, in UTC", param=param)
    return instant


def _form(found: Reconciliation) -> dict[str, Any]:
    return {
        "tokens": [
            {
                "day": line.day, "model": line.model, "engine": line.engine, "usage": line.usage, "waived": line.waived,
                "invoices": line.invoiced, "difference": line.difference,
            }
            for line in found.tokens
        ],
        "money": [
            {
                "day": line.day, "model": line.model, "currency": line.currency, "usage": render_amount(line.usage),
                "ledger": render_amount(line.ledger), "invoices": render_amount(line.invoiced),
                "rounding": render_amount(line.rounding), "difference": render_amount(line.difference),
            }
            for line in found.money
        ],
    }  # fmt: skip


def _token_row(line: TokenLine) -> tuple[str, ...]:
    engine = ("", "", "") if line.engine is None else _of(line.engine)
    cells = (*engine, *_of(line.usage), line.waived, line.difference, *_of(line.invoiced))
    return (line.day, line.model, *(cell(one) for one in cells))


def _of(tokens: Tokens) -> tuple[int, int, int]:
    return tokens.requests, tokens.input, tokens.output


def _money_row(line: MoneyLine) -> tuple[str, ...]:
    amounts = (line.usage, line.ledger, line.difference, line.invoiced, line.rounding)
    return (line.day, line.model, line.currency, *(render_amount(amount) for amount in amounts))
