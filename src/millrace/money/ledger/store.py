"""The ledger on the database: batches in, an answer for each item; a refused item changes nothing.

In the usual case the first statement that writes does so only if nothing stands against the transfer, and the ones after it
cannot fail. Only when it changed nothing is it asked what stood against it.
"""

from collections.abc import Iterable

from millrace.base.money import MAX_NANO
from millrace.money.ledger.entries import Account, Answer, Entry, Refused
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.ledger")


def open_account(tx: Tx, account_id: str, currency: str, *, overdraft: int | None) -> None:
    """Make the account unless it exists. `overdraft` is how far debits may exceed credits, None for no limit."""
    tx.run(_SQL["open_account"], id=account_id, currency=currency, overdraft=overdraft)


def account(tx: Tx, account_id: str) -> Account | None:
    row = tx.row(_SQL["account"], id=account_id)
    return None if row is None else Account(*row)


def accounts(tx: Tx) -> list[Account]:
    """Every account, by id: the trial balance is made of them."""
    return [Account(*row) for row in tx.rows(_SQL["accounts"])]


def pending_amount(tx: Tx, transfer_id: str) -> int:
    """What a pending transfer holds. Raises LookupError when there is none of that id."""
    row = tx.row(_SQL["transfer"], id=transfer_id)
    if row is None or row[1] != "pending":
        raise LookupError(f"{transfer_id} is not a pending transfer")
    return int(row[4])


def apply(tx: Tx, entries: Iterable[Entry]) -> list[Answer]:
    """Make the transfers in order. A refused one changes nothing and does not touch its neighbours."""
    return [_apply(tx, entry) for entry in entries]


def make(tx: Tx, entry: Entry) -> None:
    """`apply` for one transfer that cannot be refused any more; raises `Refused` (which undoes the caller's work) if it
    is.
    """
    answer = _apply(tx, entry)
    if answer not in (Answer.OK, Answer.EXISTS):
        raise Refused(entry, answer)


def make_new(tx: Tx, entry: Entry) -> None:
    """`make` for a transfer that cannot exist yet: raises `Refused` if it does."""
    answer = _apply(tx, entry)
    if answer is not Answer.OK:
        raise Refused(entry, answer)


def transfer(tx: Tx, *, id: str, debit: str, credit: str, amount: int, at: int) -> None:  # noqa: A002 - its name everywhere
    """Make a single transfer that cannot be refused any more."""
    make(tx, Entry(id=id, kind="single", debit=debit, credit=credit, amount=amount, at=at))


def _apply(tx: Tx, entry: Entry) -> Answer:
    if entry.amount < 0 or (entry.kind == "void" and entry.amount):
        raise ValueError(f"transfer {entry.id}: an amount is never negative (swap debit and credit), that of a void is 0")
    if entry.amount > MAX_NANO:
        return Answer.OVERFLOWS_ACCOUNT
    return _resolve(tx, entry) if entry.kind in ("post", "void") else _move(tx, entry)


def _move(tx: Tx, entry: Entry) -> Answer:
    side = "posted" if entry.kind == "single" else "pending"
    if entry.debit == entry.credit or not tx.run(
        _SQL[f"debit_{side}"], id=entry.id, debit=entry.debit, credit=entry.credit, amount=entry.amount
    ):
        return _why_not_moved(tx, entry)
    # From here on the transfer must succeed.
    tx.run(_SQL[f"credit_{side}"], id=entry.credit, amount=entry.amount)
    tx.run(
        _SQL["insert"], id=entry.id, kind=entry.kind, debit=entry.debit, credit=entry.credit, amount=entry.amount, at=entry.at
    )
    return Answer.OK


def _resolve(tx: Tx, entry: Entry) -> Answer:
    pending = tx.row(_SQL["pending"], pending_id=entry.pending_id)
    if pending is None:
        return _why_not_resolved(tx, entry)
    debit, credit, held = pending
    if entry.amount > held or not tx.run(
        _SQL["insert_resolution"], id=entry.id, kind=entry.kind, debit=debit, credit=credit, amount=entry.amount,
        pending_id=entry.pending_id, at=entry.at,
    ):  # fmt: skip
        return _why_not_resolved(tx, entry)
    # From here on the transfer must succeed.
    tx.run(_SQL["debit_resolved"], id=debit, pending=held, posted=entry.amount)
    tx.run(_SQL["credit_resolved"], id=credit, pending=held, posted=entry.amount)
    return Answer.OK


def _why_not_moved(tx: Tx, entry: Entry) -> Answer:
    existing = tx.row(_SQL["transfer"], id=entry.id)
    if existing is not None:
        return _compare(entry, existing)
    if entry.debit == entry.credit:
        return Answer.ACCOUNTS_ARE_THE_SAME
    debit, credit = account(tx, entry.debit), account(tx, entry.credit)
    if debit is None or credit is None:
        return Answer.NO_SUCH_ACCOUNT
    if debit.currency != credit.currency:
        return Answer.ACCOUNTS_OF_TWO_CURRENCIES
    if debit.overdraft is not None and entry.amount > debit.available:
        return Answer.EXCEEDS_CREDIT
    return Answer.OVERFLOWS_ACCOUNT


def _why_not_resolved(tx: Tx, entry: Entry) -> Answer:
    existing = tx.row(_SQL["transfer"], id=entry.id)
    if existing is not None:
        return _compare(entry, existing)
    pending = tx.row(_SQL["transfer"], id=entry.pending_id)
    if pending is None or pending[1] != "pending":
        return Answer.NO_SUCH_PENDING
    resolution = tx.row(_SQL["resolution"], pending_id=entry.pending_id)
    if resolution is not None:
        return Answer.ALREADY_POSTED if resolution[0] == "post" else Answer.ALREADY_VOIDED
    return Answer.EXCEEDS_PENDING


def _compare(entry: Entry, existing: tuple[str, str, str, str, int, str | None, int]) -> Answer:
    _, kind, debit, credit, amount, pending_id, _ = existing
    same = (kind, amount, pending_id) == (entry.kind, entry.amount, entry.pending_id)
    if entry.pending_id is None:
        same = same and (debit, credit) == (entry.debit, entry.credit)
    return Answer.EXISTS if same else Answer.EXISTS_WITH_DIFFERENT_CONTENT
