"""The ledger's rules on a working set of accounts: pure, in memory, one answer for each transfer.

Whoever uses it loads the accounts that it will touch (and locks them, where others write too), applies transfers in order,
and writes out what changed (store.py). A refused transfer changes nothing.
"""

from collections.abc import Iterable

from msgspec import Struct

from millrace.base.money import MAX_NANO
from millrace.money.ledger.chain import Transfer
from millrace.money.ledger.entries import Account, Answer, Entry, Kind


class Standing(Struct):
    """An account as it stands while transfers are applied."""

    id: str
    currency: str
    overdraft: int | None
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    changed: bool = False

    @property
    def room(self) -> int:
        """What may be debited before the account's own numbers end, nano-units."""
        return MAX_NANO - self.debits_posted - self.debits_pending

    @property
    def free(self) -> int:
        """What may still be debited, nano-units; no limit is more than any amount."""
        if self.overdraft is None:
            return self.room
        return self.credits_posted + self.overdraft - self.debits_posted - self.debits_pending

    @property
    def unspent(self) -> int:
        """What came in and did not go out again; of it a part may be held."""
        return self.credits_posted - self.debits_posted


class Pending(Struct):
    """A transfer that waits to be posted or voided, and how it was resolved, if it was."""

    debit: str
    credit: str
    amount: int
    resolved: Kind | None = None


class Sheet:
    """Accounts, the pending transfers that may be resolved, the ids that are taken; and the rows to write."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.accounts: dict[str, Standing] = {}
        self.pending: dict[str, Pending] = {}
        self.taken: dict[str, Transfer] = {}
        self.made: list[Transfer] = []
        for account in accounts:
            self.add(account)

    def add(self, account: Account) -> None:
        self.accounts[account.id] = Standing(
            account.id, account.currency, account.overdraft,
            account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted,
        )  # fmt: skip

    def changed(self) -> list[Standing]:
        return [standing for standing in self.accounts.values() if standing.changed]

    def apply(self, entry: Entry) -> Answer:
        """Make the transfer, or say why not."""
        if entry.amount < 0 or (entry.kind == "void" and entry.amount):
            raise ValueError(f"transfer {entry.id}: an amount is never negative (swap debit and credit), that of a void is 0")
        taken = self.taken.get(entry.id)
        if taken is not None:
            return _compare(entry, taken)
        if entry.amount > MAX_NANO:
            return Answer.OVERFLOWS_ACCOUNT
        return self._resolve(entry) if entry.kind in ("post", "void") else self._move(entry)

    def _move(self, entry: Entry) -> Answer:
        if entry.debit == entry.credit:
            return Answer.ACCOUNTS_ARE_THE_SAME
        debit, credit = self.accounts.get(entry.debit), self.accounts.get(entry.credit)
        if debit is None or credit is None:
            return Answer.NO_SUCH_ACCOUNT
        if debit.currency != credit.currency:
            return Answer.ACCOUNTS_OF_TWO_CURRENCIES
        amount = entry.amount
        if debit.overdraft is not None and amount > debit.free:
            return Answer.EXCEEDS_CREDIT
        if amount > debit.room or amount > MAX_NANO - credit.credits_posted - credit.credits_pending:
            return Answer.OVERFLOWS_ACCOUNT
        # From here on the transfer must succeed.
        if entry.kind == "single":
            debit.debits_posted += amount
            credit.credits_posted += amount
        else:
            debit.debits_pending += amount
            credit.credits_pending += amount
            self.pending[entry.id] = Pending(entry.debit, entry.credit, amount)
        debit.changed = credit.changed = True
        self._make(entry, entry.debit, entry.credit)
        return Answer.OK

    def _resolve(self, entry: Entry) -> Answer:
        pending = self.pending.get(entry.pending_id or "")
        if pending is None:
            return Answer.NO_SUCH_PENDING
        if pending.resolved is not None:
            return Answer.ALREADY_POSTED if pending.resolved == "post" else Answer.ALREADY_VOIDED
        if entry.amount > pending.amount:
            return Answer.EXCEEDS_PENDING
        # From here on the transfer must succeed.
        debit, credit = self.accounts[pending.debit], self.accounts[pending.credit]
        debit.debits_pending -= pending.amount
        debit.debits_posted += entry.amount
        credit.credits_pending -= pending.amount
        credit.credits_posted += entry.amount
        debit.changed = credit.changed = True
        pending.resolved = entry.kind
        self._make(entry, pending.debit, pending.credit)
        return Answer.OK

    def _make(self, entry: Entry, debit: str, credit: str) -> None:
        made = Transfer(entry.id, entry.kind, debit, credit, entry.amount, entry.pending_id, entry.at)
        self.taken[entry.id] = made
        self.made.append(made)


def _compare(entry: Entry, earlier: Transfer) -> Answer:
    same = (earlier.kind, earlier.amount, earlier.pending_id) == (entry.kind, entry.amount, entry.pending_id)
    if entry.pending_id is None:
        same = same and (earlier.debit, earlier.credit) == (entry.debit, entry.credit)
    return Answer.EXISTS if same else Answer.EXISTS_WITH_DIFFERENT_CONTENT
