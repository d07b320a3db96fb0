"""The ledger on the database: batches in, an answer for each item; a refused item changes nothing.

What a batch touches is read and locked, the rules are applied in memory (sheet.py), and what changed is written in bulk.
The table's constraints hold the same rules once more.
"""

from collections.abc import Iterable
from typing import Final

from millrace.money.ledger.chain import GENESIS, Chain, Transfer
from millrace.money.ledger.entries import Account, Answer, Entry, Refused
from millrace.money.ledger.sheet import Pending, Sheet
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.ledger")

_COLUMNS: Final = ("id", "kind", "debit_account", "credit_account", "amount", "pending_id", "at", "chain", "hash")


def open_account(tx: Tx, account_id: str, currency: str, *, overdraft: int | None) -> None:
    """Make the account unless it exists. `overdraft` is how far debits may exceed credits, None for no limit."""
    tx.run(_SQL["open_account"], id=account_id, currency=currency, overdraft=overdraft)


def account(tx: Tx, account_id: str) -> Account | None:
    row = tx.row(_SQL["account"], id=account_id)
    return None if row is None else Account(*row)


def accounts(tx: Tx) -> list[Account]:
    """Every account, by id: the trial balance is made of them."""
    return [Account(*row) for row in tx.rows(_SQL["accounts"])]


def lock(tx: Tx, account_ids: Iterable[str]) -> list[Account]:
    """The accounts as they stand, nobody else's to change until the transaction ends. Those that do not exist are left out."""
    ids = sorted(set(account_ids))
    return [Account(*row) for row in tx.rows(_SQL["lock_accounts"], ids=ids)] if ids else []


def pendings(tx: Tx, transfer_ids: Iterable[str]) -> dict[str, Pending]:
    """The pending transfers among these ids. Whether they are resolved is not asked: lock their accounts first."""
    return {row[0]: Pending(row[2], row[3], row[4]) for row in _transfers(tx, transfer_ids) if row[1] == "pending"}


def apply(tx: Tx, entries: Iterable[Entry]) -> list[Answer]:
    """Make the transfers in order. A refused one changes nothing and does not touch its neighbours."""
    wanted = list(entries)
    sheet = _load(tx, wanted)
    answers = [sheet.apply(entry) for entry in wanted]
    write(tx, sheet)
    return answers


def make(tx: Tx, entry: Entry) -> None:
    """`apply` for one transfer that cannot be refused any more; raises `Refused` (which undoes the caller's work) if it
    is.
    """
    (answer,) = apply(tx, [entry])
    if answer not in (Answer.OK, Answer.EXISTS):
        raise Refused(entry, answer)


def make_new(tx: Tx, entries: list[Entry]) -> None:
    """`make` for transfers that cannot exist yet: raises `Refused` if one does."""
    for entry, answer in zip(entries, apply(tx, entries), strict=True):
        if answer is not Answer.OK:
            raise Refused(entry, answer)


def transfer(tx: Tx, *, id: str, debit: str, credit: str, amount: int, at: int) -> None:  # noqa: A002 - its name everywhere
    """Make a single transfer that cannot be refused any more."""
    make(tx, Entry(id=id, kind="single", debit=debit, credit=credit, amount=amount, at=at))


def write(tx: Tx, sheet: Sheet) -> None:
    """Write what became of a sheet: new transfers, linked into a chain, and the accounts that changed."""
    if not sheet.made:
        return
    chain = _chain(tx)
    rows = [
        (one.id, one.kind, one.debit, one.credit, one.amount, one.pending_id, one.at, chain.number, chain.add(one))
        for one in sheet.made
    ]
    tx.insert("transfer", _COLUMNS, rows)
    tx.run(_SQL["set_chain"], number=chain.number, length=chain.length, head=chain.head)
    tx.run_many(
        _SQL["set_account"],
        [
            {
                "id": one.id, "debits_pending": one.debits_pending, "debits_posted": one.debits_posted,
                "credits_pending": one.credits_pending, "credits_posted": one.credits_posted,
            }
            for one in sheet.changed()
        ],
    )  # fmt: skip


def _load(tx: Tx, entries: list[Entry]) -> Sheet:
    """What can be changed meanwhile is read after the accounts are locked."""
    named = [entry.pending_id for entry in entries if entry.pending_id]
    pending = pendings(tx, named)
    sheet = Sheet(lock(tx, _accounts_of(entries, pending)))
    sheet.pending = pending
    for row in _transfers(tx, [entry.id for entry in entries]):
        sheet.taken[row[0]] = Transfer(*row)
    for pending_id, kind in tx.rows(_SQL["resolutions"], ids=named) if pending else ():
        pending[pending_id].resolved = kind
    return sheet


def _accounts_of(entries: list[Entry], pending: dict[str, Pending]) -> set[str]:
    named = {name for entry in entries if entry.pending_id is None for name in (entry.debit, entry.credit)}
    return named | {name for one in pending.values() for name in (one.debit, one.credit)}


def _transfers(tx: Tx, ids: Iterable[str]) -> list[tuple[str, str, str, str, int, str | None, int]]:
    wanted = list(ids)
    return tx.rows(_SQL["transfers"], ids=wanted) if wanted else []


def _chain(tx: Tx) -> Chain:
    """A chain that no other transaction is writing; a new one when all are."""
    row = tx.row(_SQL["free_chain"])
    while row is None:
        tx.run(_SQL["new_chain"], genesis=GENESIS)
        row = tx.row(_SQL["free_chain"])
    return Chain(*row)
