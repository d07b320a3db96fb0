"""Every invariant of the books, recomputed from the rows.

Run it inside `Database.read`: all checks then see one snapshot, also while a server writes. Memory stays bounded,
whatever the number of rows: sums are taken by the database, which spills to disk, and usage is rated a page at a time.

Not covered: what the rows cannot know, such as what a client got (the journal and the tests under tests/races say
that).
"""

from collections.abc import Callable
from typing import Final

from millrace.base.errors import Refusal
from millrace.base.money import NANO
from millrace.generation.chunk import TokenCounts
from millrace.money.audit.check import Check, check
from millrace.money.invoices import verify as invoices
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import rate
from millrace.money.rating.store import price_by_id
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.audit")

PAGE_ROWS: Final = 5_000
"""Usage rows read at once."""

Total = tuple[int, int, int, int]
"""Of a currency: posted debits and credits, pending debits and credits."""


def audit(tx: Tx) -> list[Check]:
    """All checks, each of them to its end: one disagreement does not hide another."""
    return [checked for one in _CHECKS for checked in one(tx)]


def _balance(tx: Tx) -> list[Check]:
    totals = _totals(tx)
    disagreement = next(
        (
            f"{currency}: debits and credits are {debits} and {credited} posted, {pending} and {pending_credits} pending"
            for currency, (debits, credited, pending, pending_credits) in totals.items()
            if debits != credited or pending != pending_credits
        ),
        None,
    )
    return [check("debits equal credits", len(totals), disagreement)]


def _accounts(tx: Tx) -> list[Check]:
    return [
        _ask(tx, "accounts are what their transfers come to", "count_accounts", "replay"),
        _ask(tx, "no account is overdrawn", "count_accounts", "overdrawn"),
    ]


def _transfers(tx: Tx) -> list[Check]:
    return [
        _ask(tx, "transfers are between two accounts of one currency", "count_transfers", "stray_transfer"),
        _ask(tx, "a hold is resolved once, by no more than it held", "count_resolutions", "resolved_twice", "wrong_resolution"),
    ]


def _holds(tx: Tx) -> list[Check]:
    return [
        _ask(tx, "open holds are their pending transfers", "count_holds", "hold_without_legs", "pending_without_hold"),
        _pending(tx),
        _ask(tx, "holds and usage are of known epochs", "count_holds", "unknown_epoch"),
    ]


def _pending(tx: Tx) -> Check:
    """Three independent ways to the same sum."""
    accounts = {currency: total[2] for currency, total in _totals(tx).items() if total[2]}
    transfers, holds = _sums(tx, "pending_transfers"), _sums(tx, "open_holds")
    disagreement = None
    if not accounts == transfers == holds:
        disagreement = f"pending are {accounts} in accounts, {transfers} in transfers, {holds} in open holds"
    return check("what is pending is what open holds reserve", len(accounts | transfers | holds), disagreement)


def _usage(tx: Tx) -> list[Check]:
    return [
        _ask(tx, "a request has one usage row or an open hold", "count_usage", "usage_twice", "usage_and_hold"),
        _ask(tx, "each request posted what it was charged", "count_usage", "usage_against_posts", "post_without_usage"),
        _ask(tx, "requests draw on their own tenant", "count_posts", "post_of_a_stranger"),
        _ask(tx, "each tenant posted what it was charged", "count_tenants", "tenant_against_posts"),
        _rated(tx),
    ]


def _rated(tx: Tx) -> Check:
    prices: dict[str, PriceVersion] = {}
    checked = after = 0
    disagreement = None
    while disagreement is None and (rows := tx.rows(_SQL["rated"], after=after, limit=PAGE_ROWS)):
        after = rows[-1][0]
        checked += len(rows)
        disagreement = next((found for row in rows if (found := _wrongly_rated(tx, prices, *row[1:]))), None)
    return check("usage was charged at its price", checked, disagreement)


def _wrongly_rated(
    tx: Tx, prices: dict[str, PriceVersion], request_id: str, input_: int, cached_input: int, output: int, reasoning: int,
    price_id: str, tier: int, amount: int, currency: str, model: str,
) -> str | None:  # fmt: skip
    if price_id not in prices:
        try:
            prices[price_id] = price_by_id(tx, price_id)
        except Refusal as refusal:
            return f"request {request_id}: {refusal.sentence}"
    price = prices[price_id]
    charge = rate(TokenCounts(input_, cached_input, output, reasoning), price)
    if (charge.amount, charge.tier, price.currency, price.model) == (amount, tier, currency, model):
        return None
    return (
        f"request {request_id} was charged {amount} {currency} for {model} in tier {tier}; by {price_id} it comes to "
        f"{charge.amount} {price.currency} for {price.model} in tier {charge.tier}"
    )


def _grants(tx: Tx) -> list[Check]:
    return [
        _ask(tx, "grants are used, expired, left or held", "count_grants", "grant_sums", "grant_without_transfer"),
        _ask(tx, "grants with something left are live", "count_grants", "grant_forgotten"),
    ]


def _budgets(tx: Tx) -> list[Check]:
    return [
        _ask(tx, "budgets are what their requests come to", "count_budgets", "budget_sums", "budget_missing"),
        _ask(tx, "no budget is exceeded", "count_budgets", "budget_exceeded"),
    ]


def _invoices(tx: Tx) -> list[Check]:
    return [check(one.name, one.checked, next(iter(one.findings), None)) for one in invoices.verify(tx)]


_CHECKS: tuple[Callable[[Tx], list[Check]], ...] = (
    _balance, _accounts, _transfers, _holds, _usage, _grants, _budgets, _invoices,
)  # fmt: skip


def _ask(tx: Tx, name: str, count: str, *questions: str) -> Check:
    """Each question returns the first row that disagrees, as a text that names it."""
    checked = tx.rows(_SQL[count])[0][0]
    disagreements = (tx.row(_SQL[question]) for question in questions)
    return check(name, checked, next((row[0] for row in disagreements if row is not None), None))


def _totals(tx: Tx) -> dict[str, Total]:
    return {
        row[0]: (
            row[1] * NANO + row[2], row[3] * NANO + row[4], row[5] * NANO + row[6], row[7] * NANO + row[8],
        )
        for row in tx.rows(_SQL["totals"])
    }  # fmt: skip


def _sums(tx: Tx, query: str) -> dict[str, int]:
    sums = {currency: units * NANO + nano for currency, units, nano in tx.rows(_SQL[query])}
    return {currency: amount for currency, amount in sums.items() if amount}
