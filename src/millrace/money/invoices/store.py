"""Invoices in the database: run a period, show, void. Each function is part of the caller's one transaction."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.base.times import Period, month_of, render_time
from millrace.money.invoices.document import Document, digest, parse_document, render_document
from millrace.money.invoices.draft import (
    Credit,
    Customer,
    Issuer,
    Posting,
    UsageGroup,
    draw_document,
    draw_lines,
    postings,
    reverse,
)
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.ledger.entries import Answer, Entry
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.store import price_by_id
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.invoices")
_DAY_NS = 86_400_000_000_000

ISSUED_AT_ONCE: Final = 100
"""Rows of invoices that are checked at once, with the usage that is on them."""

MILLRACE = Issuer()


class Void(Struct, frozen=True):
    """That an invoice no longer counts, why and since when."""

    reason: str
    at: int


class Issued(Struct, frozen=True):
    """An invoice's row as it stands, not yet believed."""

    id: str
    number: str
    tenant_id: str
    period: str
    currency: str
    total: int
    text: str
    sha256: str
    issued_at: int
    voided_at: int | None


class Invoice(Struct, frozen=True, kw_only=True):
    """A document as it was issued, the JSON that was hashed, and its void if it has one."""

    document: Document
    text: str
    sha256: str
    void: Void | None = None

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def number(self) -> str:
        return self.document.number


def run(
    tx: Tx, customer: Customer, period: Period, now: int, ids: Ids, *, issuer: Issuer = MILLRACE
) -> list[Invoice]:
    """Issue what is not invoiced yet of the customer's usage up to the period's end, one invoice for each currency.

    Returns all valid invoices of the period, so running again with nothing new issues nothing and answers the same.
    Usage of an earlier month that came late has lines of its own month here; what comes after this is on a further one.
    """
    if now < period.start:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"period: {period.name} begins at {render_time(period.start)}, so there is nothing to invoice yet",
            param="period",
        )
    for (currency,) in tx.rows(_SQL["currencies"], tenant_id=customer.id, end=period.end):
        _issue(tx, customer, currency, period, now, ids.new("inv"), issuer)
    return of_period(tx, customer.id, period)


def of_period(tx: Tx, tenant_id: str, period: Period) -> list[Invoice]:
    """The valid invoices that were issued to a tenant for a period, by number."""
    return [_invoice(row) for row in tx.rows(_SQL["of_period"], tenant_id=tenant_id, period=period.name)]


def show(tx: Tx, name: str) -> Invoice:
    """The invoice with this id or number, void or not."""
    row = tx.row(_SQL["by_id_or_number"], name=name)
    if row is None:
        raise Refusal(Reason.NOT_FOUND, f"there is no invoice {name}; give its id or a number such as MR-2026-000001")
    return _invoice(row)


def all_invoices(tx: Tx) -> list[Invoice]:
    """Every invoice ever issued, by number, void ones too."""
    return [_invoice(row) for row in tx.rows(_SQL["all"])]


def void(tx: Tx, name: str, reason: str, now: int) -> Invoice:
    """Take an invoice back: its usage is free for another and new transfers reverse its own; its number stays used.

    The same again, with the same reason, is answered with what was done; with another reason it is refused.
    """
    invoice = show(tx, name)
    if invoice.void is not None:
        if invoice.void.reason == reason:
            return invoice
        at = render_time(invoice.void.at)
        raise Refusal(Reason.CONFLICT, f"invoice {invoice.number} was voided at {at} already: {invoice.void.reason}")
    if not reason.strip():
        raise Refusal(Reason.INVALID_REQUEST, "reason: say why the invoice is voided", param="reason")
    _refuse_archived(tx, invoice)
    tx.run(_SQL["insert_void"], invoice_id=invoice.id, reason=reason, at=now)  # first: of two at once it refuses one
    for posting in postings(invoice.document):
        _take_back(tx, invoice, posting, now)
    tx.run(_SQL["free"], invoice_id=invoice.id)
    return show(tx, invoice.id)


def usage_groups(tx: Tx, invoice_id: str) -> list[UsageGroup]:
    """The usage on an invoice, archived or not, summed by day, model, price and tier; `month` is the day's."""
    return [
        _group(row) for query in ("groups", "archived_groups") for row in tx.rows(_SQL[query], invoice_id=invoice_id)
    ]


def prices_of(tx: Tx, groups: Sequence[UsageGroup]) -> dict[str, PriceVersion]:
    """The price versions that rated them."""
    return {price_id: price_by_id(tx, price_id) for price_id in sorted({group.price_id for group in groups})}


def charged(tx: Tx, invoice_id: str, account_id: str) -> int:
    """What the requests on an invoice charged to an account, by the ledger's posted transfers."""
    sums = (tx.rows(_SQL[query], invoice_id=invoice_id, account=account_id)[0] for query in ("charged", "archived_charged"))
    return sum(int(units * NANO + nano) for units, nano in sums)


def issued(tx: Tx, after: str) -> list[Issued]:
    """Some invoices' rows after a number, by number: for whoever checks them."""
    return [Issued(*row) for row in tx.rows(_SQL["issued"], after=after, limit=ISSUED_AT_ONCE)]


def transfers_of(tx: Tx, invoice_id: str) -> list[Posting]:
    """What the ledger has of an invoice: the transfers of its issue and of its void."""
    return [Posting(*row) for row in tx.rows(_SQL["transfers"], invoice_id=invoice_id)]


def counters(tx: Tx) -> dict[str, int]:
    """The last number given in each series ('MR-2026')."""
    return {name.removeprefix("invoice/"): value for name, value in tx.rows(_SQL["counters"])}


def invoiced_count(tx: Tx) -> int:
    """How many usage rows are on an invoice."""
    return int(tx.rows(_SQL["invoiced_count"])[0][0])


def strays(tx: Tx, limit: int) -> list[tuple[str, str]]:
    """Usage (request id, invoice id) on an invoice that is not there, is void, or is another tenant's or currency's."""
    return [(row[0], row[1]) for row in tx.rows(_SQL["strays"], limit=limit)]


def _issue(
    tx: Tx, customer: Customer, currency: str, period: Period, now: int, invoice_id: str, issuer: Issuer
) -> None:
    claimed = tx.run(_SQL["claim"], invoice_id=invoice_id, tenant_id=customer.id, currency=currency, end=period.end)
    if not claimed:  # another run issued it at this very moment
        return
    groups = usage_groups(tx, invoice_id)
    document = draw_document(
        draw_lines(groups, prices_of(tx, groups)), _credit(tx, invoice_id, customer, currency),
        id=invoice_id, number=_next_number(tx, issuer, now), issuer=issuer, customer=customer, currency=currency,
        period=period, now=now,
    )  # fmt: skip
    text = render_document(document)
    tx.run(
        _SQL["insert"],
        id=document.id, number=document.number, tenant_id=customer.id, period=period.name, currency=currency,
        total=document.total, document=text, sha256=digest(text), issued_at=now,
    )  # fmt: skip
    _post(tx, document, now)


def _post(tx: Tx, document: Document, now: int) -> None:
    """A model whose every request came to less than half a nano-unit has no revenue account until here."""
    ledger.open_account(tx, names.rounding(document.currency), document.currency, overdraft=None)
    for line in document.lines:
        ledger.open_account(tx, names.revenue(document.currency, line.model), document.currency, overdraft=None)
    for posting in postings(document):
        ledger.transfer(tx, id=posting.id, debit=posting.debit, credit=posting.credit, amount=posting.amount, at=now)


def _credit(tx: Tx, invoice_id: str, customer: Customer, currency: str) -> Credit:
    """A tenant without a credit account pays everything from grants, and no transfer need be looked at."""
    account = ledger.account(tx, names.receivable(customer.id, currency))
    if account is None:
        return Credit(charged=0, room=0)
    return Credit(charged=charged(tx, invoice_id, account.id), room=account.available)


def _next_number(tx: Tx, issuer: Issuer, now: int) -> str:
    """Counted in the transaction that issues the invoice, so a number that was given is never missing."""
    series = f"{issuer.prefix}-{month_of(now).name[:4]}"
    (value,) = tx.rows(_SQL["next_number"], name=f"invoice/{series}")[0]
    return f"{series}-{value:06d}"


def _refuse_archived(tx: Tx, invoice: Invoice) -> None:
    """Its usage rows are what another invoice would be drawn from. The lock keeps them from going meanwhile."""
    tx.rows(_SQL["lock"], invoice_id=invoice.id)
    if tx.row(_SQL["is_archived"], invoice_id=invoice.id) is not None:
        raise Refusal(
            Reason.CONFLICT,
            f"invoice {invoice.number} cannot be voided any more: usage on it is archived; give the tenant a grant instead",
        )


def _take_back(tx: Tx, invoice: Invoice, posting: Posting, now: int) -> None:
    back = reverse(posting)
    entry = Entry(id=back.id, kind="single", debit=back.debit, credit=back.credit, amount=back.amount, at=now)
    (answer,) = ledger.apply(tx, [entry])
    if answer is not Answer.OK:
        raise Refusal(
            Reason.CONFLICT,
            f"invoice {invoice.number} cannot be voided now: taking back its rounding was answered '{answer}'; "
            "a tenant at its credit limit needs a higher limit or a payment first",
        )


def _invoice(row: Sequence[Any]) -> Invoice:
    text, sha256, reason, at = row
    void_ = None if at is None else Void(reason, at)
    return Invoice(document=parse_document(text), text=text, sha256=sha256, void=void_)


def _group(row: Sequence[Any]) -> UsageGroup:
    return UsageGroup(
        month=month_of(row[0] * _DAY_NS).name, model=row[1], price_id=row[2], tier=row[3], requests=row[4],
        input=row[5], cached_input=row[6], output=row[7], receipts=row[8] * NANO + row[9],
    )  # fmt: skip
