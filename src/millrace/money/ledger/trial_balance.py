"""The trial balance: every account with its debits and credits, and whether they are equal per currency."""

from collections import defaultdict

from msgspec import Struct

from millrace.money.ledger.entries import Account


class CurrencyTotal(Struct, frozen=True):
    """Sums over all accounts of a currency; Python integers, so they cannot overflow."""

    currency: str
    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int

    @property
    def balanced(self) -> bool:
        return self.debits_posted == self.credits_posted and self.debits_pending == self.credits_pending


def totals(accounts: list[Account]) -> list[CurrencyTotal]:
    """One total for each currency, by its code."""
    by_currency: dict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        by_currency[account.currency].append(account)
    return [
        CurrencyTotal(
            currency,
            sum(account.debits_posted for account in theirs),
            sum(account.credits_posted for account in theirs),
            sum(account.debits_pending for account in theirs),
            sum(account.credits_pending for account in theirs),
        )
        for currency, theirs in sorted(by_currency.items())
    ]
