"""From sums of usage to a document and the transfers it makes: the arithmetic of invoices, without I/O.

A request's charge was rounded once, to a nano-unit; a line is computed anew from the sums of tokens and rounded once.
The two differ by at most half a nano-unit a request, and the difference is posted, so that revenue is what the lines
say. What is left to pay is rounded to what can be paid, and that difference is posted too.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.base.money import divide_half_up, minor_unit, render_amount
from millrace.base.times import Period
from millrace.money.invoices.document import Document, Line
from millrace.money.ledger import names
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import cost


class Issuer(Struct, frozen=True):
    """Who issues. Each prefix has numbers of its own, counted from 1 in each year: 'MR-2026-000001'."""

    name: str = "Millrace"
    prefix: str = "MR"


class Customer(Struct, frozen=True):
    """The tenant that is invoiced."""

    id: str
    name: str


class UsageGroup(Struct, frozen=True, kw_only=True):
    """Sums over usage rows of one month, model, price and tier; `receipts` is the sum of their amounts."""

    month: str
    model: str
    price_id: str
    tier: int
    requests: int
    input: int
    cached_input: int
    output: int
    receipts: int


class Credit(Struct, frozen=True):
    """What the requests charged to the tenant's credit, and how much more could be charged to it now."""

    charged: int
    room: int


class Posting(Struct, frozen=True):
    """A transfer that an invoice makes when it is issued."""

    id: str
    debit: str
    credit: str
    amount: int


def draw_lines(groups: Iterable[UsageGroup], prices: Mapping[str, PriceVersion]) -> tuple[Line, ...]:
    """One line for each month, model, price version and tier, in that order; groups that share all four are added up.

    Raises a Refusal where a line and its receipts differ by more than rounding can explain: no invoice hides that.
    """
    sums: dict[tuple[str, str, int, int], UsageGroup] = {}
    for group in groups:
        key = (group.month, group.model, prices[group.price_id].version, group.tier)
        sums[key] = _add(sums[key], group) if key in sums else group
    return tuple(_line(sums[key], prices[sums[key].price_id]) for key in sorted(sums))


def draw_document(
    lines: tuple[Line, ...], credit: Credit, *,
    id: str, number: str, issuer: Issuer, customer: Customer, currency: str, period: Period, now: int,  # noqa: A002
) -> Document:  # fmt: skip
    """The document for these lines. There is no tax table yet: tax is 0, and says so."""
    subtotal = sum(line.amount for line in lines)
    paid_from_grants = sum(line.receipts for line in lines) - credit.charged
    due = amount_due(subtotal - paid_from_grants, credit, minor_unit(currency))
    total = paid_from_grants + due
    return Document(
        id=id, number=number, issuer=issuer.name, customer_id=customer.id, customer_name=customer.name,
        currency=currency, period=period, so_far=now < period.end, issued_at=now - now % 1000, lines=lines,
        subtotal=subtotal, tax=0, rounding=total - subtotal, total=total, paid_from_grants=paid_from_grants, due=due,
    )  # fmt: skip


def amount_due(exact: int, credit: Credit, minor: int) -> int:
    """What is left to pay, in whole minor units: half-up, but never more than the tenant's credit has room for.

    A tenant at its limit is rounded down instead, in its favour, so that issuing cannot fail for half a cent. Where
    grants paid for everything, nothing is due.
    """
    if credit.charged == 0:
        return 0
    most = (credit.charged + credit.room) // minor * minor
    return max(0, min(divide_half_up(exact, minor) * minor, most))


def postings(document: Document) -> list[Posting]:
    """The transfers of an invoice, a function of the document alone: a void reverses them, an audit looks for them.

    After them revenue has grown by the lines, the tenant's credit is charged with what is due, and the rounding account
    holds the document's rounding. What differs by nothing posts nothing.
    """
    differences: dict[str, int] = {}
    for line in document.lines:
        differences[line.model] = differences.get(line.model, 0) + line.amount - line.receipts
    rounding = names.rounding(document.currency)
    moves = [
        (rounding, names.revenue(document.currency, model), differences[model]) for model in sorted(differences)
    ]
    receivable = names.receivable(document.customer_id, document.currency)
    moves.append((receivable, rounding, document.due - document.charged))
    return [
        _posting(f"{document.id}/{place}", debit, credit, amount)
        for place, (debit, credit, amount) in enumerate(moves, 1)
        if amount
    ]


def reverse(posting: Posting) -> Posting:
    """The transfer that takes a posting back when its invoice is voided."""
    return Posting(f"{posting.id}/void", posting.credit, posting.debit, posting.amount)


def _add(one: UsageGroup, other: UsageGroup) -> UsageGroup:
    return UsageGroup(
        month=one.month, model=one.model, price_id=one.price_id, tier=one.tier,
        requests=one.requests + other.requests, input=one.input + other.input,
        cached_input=one.cached_input + other.cached_input, output=one.output + other.output,
        receipts=one.receipts + other.receipts,
    )  # fmt: skip


def _line(group: UsageGroup, version: PriceVersion) -> Line:
    prices = version.tiers[group.tier]
    amount = cost(group.input, group.cached_input, group.output, prices)
    if 2 * abs(amount - group.receipts) > group.requests + 1:
        raise Refusal(
            Reason.CONFLICT,
            f"{group.requests} requests to {group.model} in {group.month} come to {render_amount(amount)} at "
            f"{version.id} but their receipts to {render_amount(group.receipts)}, and rounding does not explain that; "
            "nothing was issued, `millrace audit` says more",
        )
    return Line(
        month=group.month, model=group.model, price_id=group.price_id, tier=group.tier, prices=prices,
        requests=group.requests, input=group.input, cached_input=group.cached_input, output=group.output,
        receipts=group.receipts, amount=amount,
    )  # fmt: skip


def _posting(id_: str, debit: str, credit: str, amount: int) -> Posting:
    return Posting(id_, debit, credit, amount) if amount > 0 else Posting(id_, credit, debit, -amount)
