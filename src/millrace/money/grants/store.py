"""Grants in the database: give, list, expire; what may be spent and in which order."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.base.money import MAX_NANO, render_amount
from millrace.money.grants.grant import PRIORITY, Balance, Funding, Grant
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.ledger.entries import Answer, Entry, Refused
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.grants")

_SOURCE: dict[Funding, Callable[[str], str]] = {
    Funding.CUSTOMER: names.cash,
    Funding.OPERATOR: names.promotion,
    Funding.SPONSOR: names.sponsor,
}

_EXPIRED_TO: dict[Funding, Callable[[str], str]] = {
    Funding.CUSTOMER: names.breakage,
    Funding.OPERATOR: names.promotion,
    Funding.SPONSOR: names.breakage,
}
"""What was paid for and lies unused is breakage; a gift that lies unused just cost less than it was booked at."""

EXPIRED_AT_ONCE = 1_000
"""Grants expired in one transaction, so that a month's end does not stop the writer for long; the next sweep goes on.
"""

_GRANT = names.grant("")


class Source(NamedTuple):
    """An account that a hold may draw on, and how much is free in it."""

    account: str
    available: int


def give(tx: Tx, grant: Grant) -> Grant:
    """Make the grant and its transfer. The same id or idempotency key with the same content is answered with the first
    grant.
    """
    earlier = _earlier(tx, grant)
    if earlier is not None:
        return earlier
    if grant.amount <= 0:
        raise Refusal(Reason.INVALID_REQUEST, "amount: a grant must be more than 0", param="amount")
    if grant.expires_at is not None and grant.expires_at <= grant.created_at:
        raise Refusal(Reason.INVALID_REQUEST, "expires: this time has passed already", param="expires")
    source, account = _SOURCE[grant.funding](grant.currency), names.grant(grant.id)
    ledger.open_account(tx, source, grant.currency, overdraft=None)
    ledger.open_account(tx, account, grant.currency, overdraft=0)
    _fund(tx, grant, source, account)
    tx.run(
        _SQL["insert"], id=grant.id, tenant_id=grant.tenant_id, amount=grant.amount, currency=grant.currency,
        funding=grant.funding, priority=grant.priority, expires_at=grant.expires_at,
        idempotency_key=grant.idempotency_key, created_at=grant.created_at,
    )  # fmt: skip
    tx.run(
        _SQL["insert_live"], tenant_id=grant.tenant_id, currency=grant.currency, priority=grant.priority,
        expires_at=grant.expires_at, grant_id=grant.id, account=account,
    )  # fmt: skip
    return grant


def new_grant(
    *, id: str, tenant_id: str, amount: int, currency: str, funding: Funding, now: int,  # noqa: A002
    expires_at: int | None = None, idempotency_key: str | None = None,
) -> Grant:  # fmt: skip
    """A grant with the priority of its funding."""
    return Grant(
        id=id, tenant_id=tenant_id, amount=amount, currency=currency, funding=funding, priority=PRIORITY[funding],
        expires_at=expires_at, idempotency_key=idempotency_key, created_at=now,
    )  # fmt: skip


def of_tenant(tx: Tx, tenant_id: str) -> list[Grant]:
    return [_grant(row) for row in tx.rows(_SQL["of_tenant"], tenant_id=tenant_id)]


class Live(NamedTuple):
    """A grant that may have something left: its account, its place in the order, what is free in it and what is not spent."""

    tenant_id: str
    currency: str
    account: str
    priority: int
    expires_at: int
    free: int
    unspent: int


def live(tx: Tx, tenants: Collection[str], now: int, *, first: int = MAX_NANO) -> list[Live]:
    """The `first` live grants of each tenant in the order they are spent; nothing is locked."""
    return [Live(*row) for row in tx.rows(_SQL["live"], tenants=sorted(tenants), now=now, limit=first)]


def forget(tx: Tx, used_up: Collection[Live]) -> None:
    """Take used-up grants off the list of live ones, so that the next hold finds one with something in it at once."""
    tx.run_many(_SQL["delete_live"], [{"tenant_id": one.tenant_id, "account": one.account} for one in used_up])


def revive(tx: Tx, accounts: Collection[str]) -> None:
    """Something came back into these accounts; the grants among them are live again."""
    granted = [account for account in sorted(accounts) if account.startswith(_GRANT)]
    tx.run_many(_SQL["revive"], [{"account": account, "id": account.removeprefix(_GRANT)} for account in granted])


def balance(tx: Tx, tenant_id: str, currency: str, now: int) -> Balance:
    """What the tenant has at `now`."""
    standing = tx.rows(_SQL["standing"], tenant_id=tenant_id, currency=currency, now=now)
    total, held, limit = sum(row[0] for row in standing), sum(row[1] for row in standing), 0
    receivable = ledger.account(tx, names.receivable(tenant_id, currency))
    if receivable is not None:
        total += receivable.credits_posted - receivable.debits_posted
        held += receivable.debits_pending
        limit = receivable.overdraft or 0
    return Balance(currency=currency, balance=total, held=held, credit_limit=limit)


def expire(tx: Tx, now: int) -> int:
    """Take back what is left of expired grants and held by no running request; returns of how many grants.

    What a running request holds stays with it. What it gives back is taken at a later call, under an id of its own.
    """
    expired = tx.rows(_SQL["expired"], now=now, limit=EXPIRED_AT_ONCE)
    standing = {one.id: one for one in ledger.lock(tx, [account for *_, account in expired])}
    entries: list[Entry] = []
    targets: set[tuple[str, str]] = set()
    for grant_id, _, currency, funding, account in expired:
        left, debited = standing[account].available, standing[account].debits_posted
        if left:
            to = _EXPIRED_TO[Funding(funding)](currency)
            targets.add((to, currency))
            entry_id = f"{grant_id}/expired/{debited}"
            entries.append(Entry(id=entry_id, kind="single", debit=account, credit=to, amount=left, at=now))
    for to, currency in sorted(targets):
        ledger.open_account(tx, to, currency, overdraft=None)
    ledger.make_new(tx, entries)
    tx.run_many(_SQL["delete_live"], [
        {"tenant_id": tenant_id, "account": account}
        for _, tenant_id, _, _, account in expired if not standing[account].debits_pending
    ])  # fmt: skip
    return len(entries)


def _fund(tx: Tx, grant: Grant, source: str, account: str) -> None:
    entry = Entry(id=grant.id, kind="single", debit=source, credit=account, amount=grant.amount, at=grant.created_at)
    (answer,) = ledger.apply(tx, [entry])
    if answer is Answer.OVERFLOWS_ACCOUNT:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"amount: with {render_amount(grant.amount)} the account {source} would hold more than {render_amount(MAX_NANO)}",
            param="amount",
        )
    if answer is not Answer.OK:
        raise Refused(entry, answer)


def _earlier(tx: Tx, grant: Grant) -> Grant | None:
    row = tx.row(_SQL["by_id"], id=grant.id)
    if row is None and grant.idempotency_key is not None:
        row = tx.row(_SQL["by_idempotency_key"], tenant_id=grant.tenant_id, idempotency_key=grant.idempotency_key)
    if row is None:
        return None
    earlier = _grant(row)
    if _content(earlier) != _content(grant):
        used = f"idempotency key {grant.idempotency_key!r}" if earlier.id != grant.id else f"id {grant.id}"
        raise Refusal(
            Reason.IDEMPOTENCY_CONFLICT, f"{used} was used for grant {earlier.id} with other content; use a new one"
        )
    return earlier


def _content(grant: Grant) -> tuple[str, int, str, Funding, int | None, str | None]:
    return grant.tenant_id, grant.amount, grant.currency, grant.funding, grant.expires_at, grant.idempotency_key


def _grant(row: Sequence[Any]) -> Grant:
    return Grant(
        id=row[0], tenant_id=row[1], amount=row[2], currency=row[3], funding=Funding(row[4]), priority=row[5],
        expires_at=row[6], idempotency_key=row[7], created_at=row[8],
    )  # fmt: skip
