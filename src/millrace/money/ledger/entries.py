"""What the ledger is asked and what it answers. An answer is a value from a closed list; it never half-applies."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

Kind = Literal["single", "pending", "post", "void"]


class Account(Struct, frozen=True):
    """A place where value is. Liabilities to tenants (grants) and income grow by credits, cash and receivables by
    debits.
    """

    id: str
    currency: str
    overdraft: int | None
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int

    @property
    def available(self) -> int:
        """What may still be debited, nano-units. Only for accounts with an overdraft set (0 included)."""
        if self.overdraft is None:
            raise ValueError(f"account {self.id} has no limit, so nothing is 'available' in it")
        return self.credits_posted + self.overdraft - self.debits_posted - self.debits_pending


class Entry(Struct, frozen=True, kw_only=True):
    """One transfer to make. `id` is the caller's: the same entry again is answered EXISTS and changes nothing.

    A post or void names what it resolves by `pending_id`, and takes both accounts from there (`debit`, `credit` are
    '').
    """

    id: str
    kind: Kind
    amount: int
    at: int
    debit: str = ""
    credit: str = ""
    pending_id: str | None = None


class Answer(StrEnum):
    """What became of an entry. Only OK changed anything."""

    OK = "ok"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_CONTENT = "exists_with_different_content"
    EXCEEDS_CREDIT = "exceeds_credit"
    NO_SUCH_ACCOUNT = "no_such_account"
    ACCOUNTS_ARE_THE_SAME = "accounts_are_the_same"
    ACCOUNTS_OF_TWO_CURRENCIES = "accounts_of_two_currencies"
    OVERFLOWS_ACCOUNT = "overflows_account"
    NO_SUCH_PENDING = "no_such_pending"
    ALREADY_POSTED = "already_posted"
    ALREADY_VOIDED = "already_voided"
    EXCEEDS_PENDING = "exceeds_pending"


class Refused(Exception):
    """A transfer that its caller had made sure of was refused: the caller's bug, or somebody tampered with the rows."""

    def __init__(self, entry: Entry, answer: Answer) -> None:
        super().__init__(f"transfer {entry.id}: {answer}")
        self.entry = entry
        self.answer = answer
