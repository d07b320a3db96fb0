"""Hold, extend and resolve on a transaction: each whole or not at all, each answered the same when asked again."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import month_of
from millrace.money.billing.hold import Leg, OpenHold, Outcome, Payer, clip, leg_id, plan
from millrace.money.grants import store as grants
from millrace.money.grants.store import Source
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.ledger.entries import Answer, Entry, Kind, Refused
from millrace.money.metering import store as metering
from millrace.money.metering.journal import Watermark
from millrace.money.metering.usage import Status, Usage
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import rate, upper_bound
from millrace.money.rating.store import price_by_id
from millrace.store.named import Queries
from millrace.store.transaction import Tx, Value

CREDIT_LIMIT_MAX = 2**62
"""What the ledger lets an account be overdrawn by: 4.6 thousand million units of a currency."""

_SQL = Queries("millrace.money.billing")


def open_credit(tx: Tx, tenant_id: str, currency: str, credit_limit: int) -> None:
    """The account of what a postpaid tenant owes; it can go as far below zero as the credit limit."""
    if credit_limit > CREDIT_LIMIT_MAX:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"credit_limit: {render_amount(credit_limit)} is more than an account can be overdrawn "
            f"({render_amount(CREDIT_LIMIT_MAX)})",
            param="credit_limit",
        )
    ledger.open_account(tx, names.receivable(tenant_id, currency), currency, overdraft=credit_limit)


def hold(
    tx: Tx, *, request_id: str, payer: Payer, price: PriceVersion, input_bound: int, output_bound: int, epoch: int, now: int
) -> OpenHold:
    """Reserve the most that the request can cost. Refuses with INSUFFICIENT_CREDIT (and what is missing) or
    BUDGET_EXCEEDED.

    The same request with the same content is answered with the hold that it has; a request that is settled is refused.
    """
    amount = upper_bound(input_bound, output_bound, price)
    legs, missing = plan(_sources(tx, payer, amount, now), amount)
    open_hold = OpenHold(
        request_id=request_id, tenant_id=payer.tenant_id, project_id=payer.project_id, key_id=payer.key_id, model=price.model,
        price_id=price.id, input_bound=input_bound, output_bound=output_bound, amount=amount, currency=payer.currency,
        legs=len(legs), budget_month=None if payer.budget is None else month_of(now).name, epoch=epoch, started_at=now,
    )  # fmt: skip
    if missing:
        earlier = _same_hold(tx, open_hold)
        if earlier is None:
            raise _insufficient(payer, amount, missing)
        return earlier
    if not _insert(tx, open_hold):
        return _earlier(tx, open_hold)
    if open_hold.budget_month is not None:
        _take_budget(tx, payer, open_hold.budget_month, amount, now)
    _make_legs(tx, request_id, legs, first=1, price=price, now=now)
    return open_hold


def extend(tx: Tx, request_id: str, payer: Payer, price: PriceVersion, output_bound: int, now: int) -> OpenHold:
    """Make room for more output. Refuses as `hold` does, and then the hold stays as it was. A bound never shrinks."""
    before = _hold_of(tx, request_id)
    if before is None:
        raise Refusal(Reason.CONFLICT, f"request {request_id} is settled already")
    _same_price(before, price)
    if output_bound <= before.output_bound:
        return before
    amount = max(before.amount, upper_bound(before.input_bound, output_bound, price))
    more = amount - before.amount
    legs, missing = plan(_sources(tx, payer, more, now), more)
    if missing:
        raise _insufficient(payer, more, missing)
    if before.budget_month is not None:
        _take_budget(tx, payer, before.budget_month, more, now)
    _make_legs(tx, request_id, legs, first=before.legs + 1, price=price, now=now)
    tx.run(
        _SQL["extend_hold"], request_id=request_id, output_bound=output_bound, amount=amount,
        legs=before.legs + len(legs), legs_believed=before.legs,
    )  # fmt: skip
    return structs.replace(before, output_bound=output_bound, amount=amount, legs=before.legs + len(legs))


def resolve(tx: Tx, request_id: str, outcome: Outcome, price: PriceVersion, now: int) -> Usage:
    """Settle the hold at what was released, void it when that is nothing. A second call answers with the first one's
    row.
    """
    row = tx.row(_SQL["take_hold"], request_id=request_id)
    if row is None:
        return _settled(tx, request_id)
    open_hold = _open_hold(row)
    _same_price(open_hold, price)
    counts, cut = clip(outcome.counts, open_hold.input_bound, open_hold.output_bound)
    charge = rate(counts, price)
    if charge.amount > open_hold.amount:
        raise AssertionError(f"request {request_id} comes to more than its upper bound: {charge} > {open_hold.amount}")
    usage = Usage(
        request_id=request_id, tenant_id=open_hold.tenant_id, project_id=open_hold.project_id, key_id=open_hold.key_id,
        model=open_hold.model, status=outcome.status, counted_by=outcome.counted_by, tokens=counts,
        waived=outcome.waived + cut, price_id=charge.price_id, tier=charge.tier, amount=charge.amount,
        currency=open_hold.currency, epoch=open_hold.epoch, started_at=open_hold.started_at,
        finished_at=max(now, open_hold.started_at),
    )  # fmt: skip
    _resolve_legs(tx, open_hold, charge.amount, now)
    metering.insert(tx, usage)
    if open_hold.budget_month is not None:
        tx.run(
            _SQL["settle_budget"], key_id=open_hold.key_id, month=open_hold.budget_month,
            held=open_hold.amount, spent=charge.amount,
        )  # fmt: skip
    return usage


def resolve_dead(tx: Tx, dead: OpenHold, mark: Watermark, now: int) -> Usage:
    """Settle a hold whose request is gone at its watermark; void it when nothing surely went out."""
    outcome = Outcome(status=Status.FAILED, counts=mark.billable, counted_by=mark.counted_by, waived=mark.waived)
    return resolve(tx, dead.request_id, outcome, price_by_id(tx, dead.price_id), now)


def holds_before(tx: Tx, epoch: int, limit: int) -> list[OpenHold]:
    return [_open_hold(row) for row in tx.rows(_SQL["holds_before"], epoch=epoch, limit=limit)]


def holds_of(tx: Tx, epoch: int) -> list[OpenHold]:
    return [_open_hold(row) for row in tx.rows(_SQL["holds_of"], epoch=epoch)]


def begin_epoch(tx: Tx, now: int) -> int:
    """A number that no server before this one had."""
    row = tx.row(_SQL["begin_epoch"], now=now)
    assert row is not None
    return int(row[0])


def end_epoch(tx: Tx, number: int, now: int) -> bool:
    """The server stopped; True when nothing of it was left open, and only then the epoch is over."""
    return tx.run(_SQL["end_epoch"], number=number, now=now) == 1


def _sources(tx: Tx, payer: Payer, amount: int, now: int) -> list[Source]:
    return grants.enough_for(tx, payer.tenant_id, payer.currency, amount, now) if amount else []


def _insufficient(payer: Payer, amount: int, missing: int) -> Refusal:
    return Refusal(
        Reason.INSUFFICIENT_CREDIT,
        f"this request can cost up to {render_amount(amount)} {payer.currency}, and {render_amount(missing)} of that is "
        "missing in the balance; add credit, or ask for fewer tokens (max_tokens)",
    )


def _insert(tx: Tx, new: OpenHold) -> bool:
    return tx.run(
        _SQL["insert_hold"],
        request_id=new.request_id, tenant_id=new.tenant_id, project_id=new.project_id, key_id=new.key_id, model=new.model,
        price_id=new.price_id, input_bound=new.input_bound, output_bound=new.output_bound, amount=new.amount,
        currency=new.currency, legs=new.legs, budget_month=new.budget_month, epoch=new.epoch, started_at=new.started_at,
    ) == 1  # fmt: skip


def _earlier(tx: Tx, new: OpenHold) -> OpenHold:
    earlier = _same_hold(tx, new)
    if earlier is None:
        raise Refusal(Reason.CONFLICT, f"request {new.request_id} is settled already")
    return earlier


def _same_hold(tx: Tx, new: OpenHold) -> OpenHold | None:
    """The hold that the request has already; it may have been extended since. Refuses when it was made for something
    else.
    """
    earlier = _hold_of(tx, new.request_id)
    if earlier is not None and _content(earlier) != _content(new):
        raise Refusal(Reason.IDEMPOTENCY_CONFLICT, f"request {new.request_id} has a hold with other content")
    return earlier


def _content(hold: OpenHold) -> tuple[str, str, str, str, str, int]:
    return hold.tenant_id, hold.project_id, hold.key_id, hold.currency, hold.price_id, hold.input_bound


def _same_price(hold: OpenHold, price: PriceVersion) -> None:
    if price.id != hold.price_id:
        raise AssertionError(f"request {hold.request_id} was held at {hold.price_id} and cannot be rated at {price.id}")


def _take_budget(tx: Tx, payer: Payer, month: str, amount: int, now: int) -> None:
    """The first request of a month finds no row yet; so does the first too large one."""
    assert payer.budget is not None, "a key that had a budget when it was held for has it until it is settled"
    values: dict[str, Value] = {"key_id": payer.key_id, "month": month}
    if tx.run(_SQL["hold_budget"], amount=amount, budget=payer.budget, **values) == 1:
        return
    tx.run(_SQL["open_budget"], **values)
    if tx.run(_SQL["hold_budget"], amount=amount, budget=payer.budget, **values) == 1:
        return
    left = tx.rows(_SQL["budget_left"], budget=payer.budget, **values)[0][0]
    raise Refusal(
        Reason.BUDGET_EXCEEDED,
        f"this request can cost up to {render_amount(amount)} {payer.currency}, and the key's budget of {month} has "
        f"{render_amount(max(left, 0))} left; raise the budget, ask for fewer tokens, or wait for the next month",
        retry_after_s=max(1, -(-(month_of(now).end - now) // NS_PER_S)),
        limit="budget",
    )


def _make_legs(tx: Tx, request_id: str, legs: list[Leg], *, first: int, price: PriceVersion, now: int) -> None:
    revenue = names.revenue(price.currency, price.model)
    for number, leg in enumerate(legs, first):
        entry = Entry(
            id=leg_id(request_id, number), kind="pending", debit=leg.account, credit=revenue, amount=leg.amount, at=now
        )
        (answer,) = ledger.apply(tx, [entry])
        if answer is Answer.NO_SUCH_ACCOUNT:  # the model's first request
            ledger.open_account(tx, revenue, price.currency, overdraft=None)
            ledger.make_new(tx, entry)
        elif answer is not Answer.OK:
            raise Refused(entry, answer)


def _resolve_legs(tx: Tx, open_hold: OpenHold, amount: int, now: int) -> None:
    """Post the amount over the legs in the order they were held; void what is left of them."""
    left = amount
    for number in range(1, open_hold.legs + 1):
        pending_id = leg_id(open_hold.request_id, number)
        held = open_hold.amount if open_hold.legs == 1 else ledger.pending_amount(tx, pending_id)
        part = min(left, held)
        left -= part
        kind: Kind = "post" if part else "void"
        ledger.make_new(tx, Entry(id=f"{pending_id}/end", kind=kind, amount=part, pending_id=pending_id, at=now))
    if left:
        raise AssertionError(f"the legs of request {open_hold.request_id} add up to less than its hold of {open_hold.amount}")


def _settled(tx: Tx, request_id: str) -> Usage:
    usage = metering.by_request(tx, request_id)
    if usage is None:
        raise LookupError(f"request {request_id} has neither a hold nor usage")
    return usage


def _hold_of(tx: Tx, request_id: str) -> OpenHold | None:
    row = tx.row(_SQL["hold"], request_id=request_id)
    return None if row is None else _open_hold(row)


def _open_hold(row: Sequence[Any]) -> OpenHold:
    return OpenHold(
        request_id=row[0], tenant_id=row[1], project_id=row[2], key_id=row[3], model=row[4], price_id=row[5],
        input_bound=row[6], output_bound=row[7], amount=row[8], currency=row[9], legs=row[10], budget_month=row[11],
        epoch=row[12], started_at=row[13],
    )  # fmt: skip
