"""What `millrace audit` asks of invoices: each check recomputes a statement from what lies below it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

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


T = TypeVar("T")


class Check(Struct, frozen=True):
    """One statement about the books: how many things were looked at, and a sentence for each that disagrees."""

    name: str
    checked: int
    findings: tuple[str, ...]


Read = Callable[[Callable[[Tx], T]], T]


def verify(read: "Read[Any]", *, since: int = 0) -> list[Check]:
    """All checks, some invoices in a snapshot, so that neither memory nor a snapshot grows with their number.

    An invoice that was changed is only named for that. Those that were issued and voided before `since` are only looked at
    for that too, and the usage of all invoices together only where it is 0.
    """
    looked = _Looked(since)
    while rows := read(looked.page):
        looked.after = rows[-1].number
    looked.add(_GAPS, looked.count, _gaps(looked.numbers, read(store.counters)))
    if not since:
        looked.add(_STRAYS, *read(lambda tx: (store.invoiced_count(tx), list(_strays(tx)))))
    return looked.checks()


_CHANGED: Final = "invoices are as they were issued"
_SUMS: Final = "invoice lines, tax and rounding are the total"
_USAGE: Final = "invoice lines are the sums of their usage"
_TRANSFERS: Final = "invoice transfers are in the ledger"
_STRAYS: Final = "usage is on one valid invoice or on none"
_GAPS: Final = "invoice numbers have no gaps"


class _Looked:
    """What was looked at so far, page by page in the order of the numbers."""

    def __init__(self, since: int) -> None:
        self.after = ""
        self.count = 0
        self.numbers: dict[str, set[int]] = defaultdict(set)
        self._since = since
        self._checked = dict.fromkeys((_CHANGED, _SUMS, _USAGE, *(() if since else (_STRAYS,)), _TRANSFERS, _GAPS), 0)
        self._findings: dict[str, list[str]] = defaultdict(list)

    def page(self, tx: Tx) -> list[Issued]:
        """Look at the next invoices; returns them."""
        rows = store.issued(tx, self.after)
        for row in rows:
            series, _, number = row.number.rpartition("-")
            self.numbers[series].add(int(number))
            self._look(tx, row)
        self.count += len(rows)
        return rows

    def add(self, name: str, count: int, findings: Iterable[str]) -> None:
        self._checked[name] += count
        self._findings[name] += list(findings)[:STRAYS_SHOWN_MAX]

    def checks(self) -> list[Check]:
        return [Check(name, count, tuple(self._findings[name])) for name, count in self._checked.items()]

    def _look(self, tx: Tx, row: Issued) -> None:
        changed = list(_changed(row))
        self.add(_CHANGED, 1, changed)
        if changed or (row.issued_at < self._since and (row.voided_at is None or row.voided_at < self._since)):
            return
        document = parse_document(row.text)
        self.add(_SUMS, 1, _sums(document))
        self.add(_TRANSFERS, 1, _transfers(tx, row, document))
        if row.voided_at is None:
            self.add(_USAGE, 1, _usage(tx, document))


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


def _gaps(numbers: dict[str, set[int]], last_given: dict[str, int]) -> Iterator[str]:
    for series in sorted(numbers.keys() | last_given.keys()):
        missing = sorted(set(range(1, last_given.get(series, 0) + 1)) ^ numbers.get(series, set()))
        if missing:
            shown = ", ".join(map(str, missing[:STRAYS_SHOWN_MAX]))
            yield f"{series}: {shown} were given but are on no invoice, or the reverse"


def _differ(one: str, amount: int, other: str, said: int) -> str:
    return f"{one} come to {render_amount(amount)}, {other} says {render_amount(said)}"
