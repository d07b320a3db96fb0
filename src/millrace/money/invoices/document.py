"""The invoice as a value, and its canonical JSON: what is hashed, kept and shown. Once issued it never changes."""

import hashlib
import json
from typing import Any

from msgspec import Struct

from millrace.base.money import render_amount
from millrace.base.times import Period, parse_month, parse_time, render_time
from millrace.money.rating.book import PriceTier


class Line(Struct, frozen=True, kw_only=True):
    """All requests of one month, model, price version and tier. `cached_input` is part of `input`, as in a receipt.

    `amount` is what the sums of tokens come to, `receipts` what the receipts of the requests add up to: they differ by
    what was rounded once per request. Amounts are nano-units, tokens can be any size.
    """

    month: str
    model: str
    price_id: str
    tier: int
    prices: PriceTier
    requests: int
    input: int
    cached_input: int
    output: int
    receipts: int
    amount: int


class Document(Struct, frozen=True, kw_only=True):
    """lines + tax + rounding = total = paid_from_grants + due. Times are whole microseconds, as the JSON shows them.

    `so_far`: it was issued before its period was over, so another invoice for the period may follow.
    """

    id: str
    number: str
    issuer: str
    customer_id: str
    customer_name: str
    currency: str
    period: Period
    so_far: bool
    issued_at: int
    lines: tuple[Line, ...]
    subtotal: int
    tax: int
    rounding: int
    total: int
    paid_from_grants: int
    due: int

    @property
    def charged(self) -> int:
        """What the requests charged to the tenant's credit, one by one: what their receipts say and no grant paid."""
        return sum(line.receipts for line in self.lines) - self.paid_from_grants


def render_document(document: Document) -> str:
    """Canonical JSON: keys sorted, no blanks, amounts as decimal strings with nine places, times RFC 3339 UTC."""
    value = {
        "id": document.id,
        "number": document.number,
        "issuer": document.issuer,
        "customer": {"id": document.customer_id, "name": document.customer_name},
        "currency": document.currency,
        "period": {
            "name": document.period.name,
            "from": render_time(document.period.start),
            "to": render_time(document.period.end),
        },
        "so_far": document.so_far,
        "issued_at": render_time(document.issued_at),
        "lines": [_render_line(line) for line in document.lines],
        "subtotal": render_amount(document.subtotal),
        "tax": render_amount(document.tax),
        "rounding": render_amount(document.rounding),
        "total": render_amount(document.total),
        "paid_from_grants": render_amount(document.paid_from_grants),
        "due": render_amount(document.due),
    }
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def parse_document(text: str) -> Document:
    """The inverse of `render_document`. A text that is not of its making is a bug (KeyError, ValueError)."""
    value = json.loads(text)
    return Document(
        id=value["id"],
        number=value["number"],
        issuer=value["issuer"],
        customer_id=value["customer"]["id"],
        customer_name=value["customer"]["name"],
        currency=value["currency"],
        period=parse_month(value["period"]["name"]),
        so_far=value["so_far"],
        issued_at=parse_time(value["issued_at"], param="issued_at"),
        lines=tuple(_parse_line(line) for line in value["lines"]),
        subtotal=_nano(value["subtotal"]),
        tax=_nano(value["tax"]),
        rounding=_nano(value["rounding"]),
        total=_nano(value["total"]),
        paid_from_grants=_nano(value["paid_from_grants"]),
        due=_nano(value["due"]),
    )


def digest(text: str) -> str:
    """The SHA-256 of a document's canonical JSON, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _render_line(line: Line) -> dict[str, Any]:
    return {
        "month": line.month,
        "model": line.model,
        "price": line.price_id,
        "tier": line.tier,
        "up_to_input_tokens": line.prices.up_to_input_tokens,
        "prices": {
            "input": render_amount(line.prices.input),
            "cached_input": render_amount(line.prices.cached_input),
            "output": render_amount(line.prices.output),
        },
        "requests": line.requests,
        "tokens": {"input": line.input, "cached_input": line.cached_input, "output": line.output},
        "receipts": render_amount(line.receipts),
        "amount": render_amount(line.amount),
    }


def _parse_line(value: dict[str, Any]) -> Line:
    prices, tokens = value["prices"], value["tokens"]
    return Line(
        month=value["month"],
        model=value["model"],
        price_id=value["price"],
        tier=value["tier"],
        prices=PriceTier(
            value["up_to_input_tokens"],
            _nano(prices["input"]),
            _nano(prices["cached_input"]),
            _nano(prices["output"]),
        ),
        requests=value["requests"],
        input=tokens["input"],
        cached_input=tokens["cached_input"],
        output=tokens["output"],
        receipts=_nano(value["receipts"]),
        amount=_nano(value["amount"]),
    )


def _nano(text: str) -> int:
    """The inverse of `render_amount`, which always writes nine places. A sum may be more than an account can hold."""
    return int(text.replace(".", ""))
