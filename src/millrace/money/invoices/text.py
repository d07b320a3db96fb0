"""An invoice as text of fixed width: a function of the document alone, so that it can be printed again at any time."""

from collections.abc import Sequence

from millrace.base.money import MINOR_DIGITS, NANO, render_amount
from millrace.base.times import render_time
from millrace.money.invoices.document import Document, Line

_HEADINGS = ("Month", "Model and price", "Requests", "Input", "of it cached", "Output", "Amount")
_TEXT_COLUMNS = 2
_GAP = "  "


def render_text(document: Document) -> str:
    """Head, one line with its prices (per 1,000,000 tokens) below for each Line, and the sums."""
    rows = [_HEADINGS, *(row for line in document.lines for row in _rows(line))]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    table = [_row(row, widths) for row in rows]
    rule = "-" * len(table[0])
    sums = [_sum(name, amount, len(rule)) for name, amount in _sums(document)]
    return "\n".join([*_head(document), "", table[0], rule, *table[1:], rule, *sums]) + "\n"


def _head(document: Document) -> list[str]:
    so_far = ", so far: another invoice for this period may follow" if document.so_far else ""
    return [
        f"INVOICE {document.number}",
        "",
        f"From    {document.issuer}",
        f"To      {document.customer_name} ({document.customer_id})",
        f"Period  {document.period.name} (UTC){so_far}",
        f"Issued  {render_time(document.issued_at)}",
        f"Id      {document.id}",
        f"Prices  {document.currency} per 1,000,000 tokens; cached input is part of the input",
    ]


def _rows(line: Line) -> tuple[tuple[str, ...], tuple[str, ...]]:
    up_to = line.prices.up_to_input_tokens
    tier = f", up to {up_to:,} input tokens" if up_to is not None else ""
    return (
        (
            line.month, line.model, f"{line.requests:,}",
            f"{line.input:,}", f"{line.cached_input:,}", f"{line.output:,}", render_amount(line.amount),
        ),
        (
            "", f"at {line.price_id}{tier}", "",
            _price(line.prices.input), _price(line.prices.cached_input), _price(line.prices.output), "",
        ),
    )  # fmt: skip


def _sums(document: Document) -> list[tuple[str, str]]:
    return [
        ("Subtotal", render_amount(document.subtotal)),
        ("Tax", render_amount(document.tax)),
        ("Rounding", render_amount(document.rounding)),
        (f"Total {document.currency}", render_amount(document.total)),
        ("Paid from grants", render_amount(document.paid_from_grants)),
        (f"Due {document.currency}", _payable(document.due, document.currency)),
    ]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if place < _TEXT_COLUMNS else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return _GAP.join(padded).rstrip()


def _sum(name: str, amount: str, width: int) -> str:
    return f"{name}{amount.rjust(width - len(name))}"


def _price(nano: int) -> str:
    """As people write a price: '2.5', '10'."""
    return render_amount(nano).rstrip("0").rstrip(".")


def _payable(nano: int, currency: str) -> str:
    """In the digits that the currency can be paid in: '12.35'. What is due has no others."""
    digits = MINOR_DIGITS[currency]
    units, places = divmod(nano, NANO)
    return f"{units}.{places:09d}"[: -9 + digits] if digits else f"{units}"
