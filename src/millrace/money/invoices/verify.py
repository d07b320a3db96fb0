"""What `millrace audit` asks of invoices: each check recomputes a statement from what lies below it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from millrace.base.errors import Refusal
from millrace.base.money import minor_unit, render_amount
from millrace.money.invoices import store
from millrace.money.invoices.document import Document, Line, digest, parse_document, render_document
from millrace.money.invoices.draft import draw_lines, postings, reverse
from millrace.money.invoices.store import Issued
from millrace.money.ledger import names
from millrace.store.transaction import Tx

STRAYS_SHOWN_MAX: Final = 20
"""Enough to see a pattern; a damaged database would name each row."""


class Check(Struct, frozen=True):
    """One statement about the books: how many things were looked at, and a sentence for each that disagrees."""

    name: str
    checked: int
    findings: tuple[str, ...]


def verify(tx: Tx) -> list[Check]:
    """All checks, on the snapshot of one transaction. An invoice that was changed is only named for that."""
    rows = store.issued(tx)
    intact = [(row, parse_document(row.text)) for row in rows if not list(_changed(row))]
    valid = [(row, document) for row, document in intact if row.voided_at is None]
    return [
        _check("invoices are as they were issued", rows, (found for row in rows for found in _changed(row))),
        _check("invoice lines, tax and rounding are the total", intact, (f for _, doc in intact for f in _sums(doc))),
        _check("invoice lines are the sums of their usage", valid, (f for _, doc in valid for f in _usage(tx, doc))),
        Check("usage is on one valid invoice or on none", store.invoiced_count(tx), tuple(_strays(tx))),
        _check("invoice transfers are in the ledger", intact, (f for one in intact for f in _transfers(tx, *one))),
        _check("invoice numbers have no gaps", rows, _gaps(rows, store.counters(tx))),
    ]


def _check(name: str, checked: Sequence[object], findings: Iterable[str]) -> Check:
    return Check(name, len(checked), tuple(findings))


def _changed(row: Issued) -> Iterator[str]:
    if digest(row.text) != row.sha256:
        yield f"{row.number}: the document does not have the hash that it was issued with"
        return
    document = parse_document(row.text)
    if render_document(document) != row.text:
        yield f"{row.number}: the document is not in its canonical form"
    said = (document.id, document.number, document.customer_id, document.period.name, document.currency, document.total)
    if said != (row.id, row.number, row.tenant_id, row.period, row.currency, row.total):
        yield f"{row.number}: the row does not say what its document says"


def _sums(document: Document) -> Iterator[str]:
    subtotal = sum(line.amount for line in document.lines)
    if subtotal != document.subtotal:
        yield f"{document.number}: {_differ('the lines', subtotal, 'the subtotal', document.subtotal)}"
    total = subtotal + document.tax + document.rounding
    if total != document.total:
        yield f"{document.number}: {_differ('lines, tax and rounding', total, 'the total', document.total)}"
    parts = document.paid_from_grants + document.due
    if parts != document.total:
        yield f"{document.number}: {_differ('what grants paid and what is due', parts, 'the total', document.total)}"
    minor = minor_unit(document.currency)
    if document.due % minor:
        yield f"{document.number}: {render_amount(document.due)} {document.currency} is due, which cannot be paid"
    if abs(document.rounding) > minor + sum(line.requests for line in document.lines):
        yield f"{document.number}: a rounding of {render_amount(document.rounding)} is not one"


def _usage(tx: Tx, document: Document) -> Iterator[str]:
    groups = store.usage_groups(tx, document.id)
    try:
        recomputed = draw_lines(groups, store.prices_of(tx, groups))
    except Refusal as refusal:
        yield f"{document.number}: {refusal.sentence}"
        return
    yield from _compare_lines(document, recomputed)
    charged = store.charged(tx, document.id, names.receivable(document.customer_id, document.currency))
    if charged != document.charged:
        yield f"{document.number}: {_differ('the ledger charged', charged, 'the document', document.charged)}"


def _compare_lines(document: Document, recomputed: tuple[Line, ...]) -> Iterator[str]:
    said, found = _by_key(document.lines), _by_key(recomputed)
    for key in sorted(said.keys() | found.keys()):
        if said.get(key) != found.get(key):
            month, model, price_id, tier = key
            line = f"the line of {month}, {model} at {price_id}, tier {tier}"
            yield f"{document.number}: {line} says {_summary(said.get(key))}, its usage {_summary(found.get(key))}"


def _by_key(lines: tuple[Line, ...]) -> dict[tuple[str, str, str, int], Line]:
    return {(line.month, line.model, line.price_id, line.tier): line for line in lines}


def _summary(line: Line | None) -> str:
    if line is None:
        return "nothing"
    return f"{line.requests} requests, {line.input} + {line.output} tokens, {render_amount(line.amount)}"


def _strays(tx: Tx) -> Iterator[str]:
    for request_id, invoice_id in store.strays(tx, STRAYS_SHOWN_MAX):
        yield f"request {request_id} is on {invoice_id}, which is no valid invoice of its tenant and currency"


def _transfers(tx: Tx, row: Issued, document: Document) -> Iterator[str]:
    expected = postings(document)
    if row.voided_at is not None:
        expected += [reverse(posting) for posting in expected]
    expected_by_id = {posting.id: posting for posting in expected}
    made_by_id = {posting.id: posting for posting in store.transfers_of(tx, row.id)}
    for transfer_id in sorted(expected_by_id.keys() | made_by_id.keys()):
        if expected_by_id.get(transfer_id) != made_by_id.get(transfer_id):
            yield f"{row.number}: transfer {transfer_id} is not the one that the document asks for"


def _gaps(rows: Sequence[Issued], last_given: dict[str, int]) -> Iterator[str]:
    numbers: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        series, _, number = row.number.rpartition("-")
        numbers[series].add(int(number))
    for series in sorted(numbers.keys() | last_given.keys()):
        missing = sorted(set(range(1, last_given.get(series, 0) + 1)) ^ numbers[series])
        if missing:
            shown = ", ".join(map(str, missing[:STRAYS_SHOWN_MAX]))
            yield f"{series}: {shown} were given but are on no invoice, or the reverse"


def _differ(one: str, amount: int, other: str, said: int) -> str:
    return f"{one} come to {render_amount(amount)}, {other} says {render_amount(said)}"
