"""Usage rows in order: each at its price, each once, and what they come to by key and month and by tenant. Pure.

Memory is that of the prices, of the tenants and of the keys that have a budget, whatever the number of rows.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Final, NamedTuple

from millrace.base.times import month_of
from millrace.catalog.tuned.values import is_tuned_on
from millrace.generation.chunk import TokenCounts
from millrace.money.audit.faults import Faults
from millrace.money.audit.replay import GRANT, RECEIVABLE, Balance, Settled, origin_of
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import rate

RATED: Final = "usage was charged at its price"
ONCE: Final = "a request has one usage row or an open hold"
POSTED: Final = "each request posted what it was charged"
OWN: Final = "requests draw on their own tenant"

BUDGET: Final = "budget/"


class Used(NamedTuple):
    """A usage row as an audit reads it."""

    seq: int
    request_id: str
    tenant_id: str
    key_id: str
    model: str
    input: int
    cached_input: int
    output: int
    reasoning: int
    price_id: str
    tier: int
    amount: int
    currency: str
    epoch: int
    started_at: int


class Spent(NamedTuple):
    """Which key, in which month."""

    key_id: str
    month: str

    @property
    def name(self) -> str:
        """Under which a mark keeps it beside the accounts."""
        return f"{BUDGET}{self.key_id}/{self.month}"


class Consumption:
    """Feed it usage rows in the order of `seq`, and the settled requests of the ledger with the rows of theirs."""

    def __init__(self, faults: Faults, budgeted: frozenset[str]) -> None:
        self.faults = faults
        self.charged: Counter[tuple[str, str]] = Counter()
        self.spent: Counter[Spent] = Counter()
        """Since the audit began, which may have been at a mark."""
        self.epochs: dict[int, str] = {}
        self.by_epoch: dict[tuple[int, str], list[int]] = {}
        self.with_amount = 0
        self.with_posts = 0
        self.seq = 0
        self._budgeted = budgeted
        self._month = month_of(0)
        for name in (ONCE, POSTED, OWN, RATED):
            faults.looked(name, 0)

    def feed(self, rows: Sequence[Used], prices: Mapping[str, PriceVersion | str]) -> None:
        """`prices`: by id, or the sentence that says why there is none."""
        for row in rows:
            if (wrong := _wrongly_rated(row, prices[row.price_id])) is not None:
                self.faults.found(RATED, wrong)
            self.charged[row.tenant_id, row.currency] += row.amount
            self.with_amount += row.amount > 0
            if row.key_id in self._budgeted:
                self.spent[Spent(row.key_id, self._month_of(row.started_at))] += row.amount
            self.epochs.setdefault(row.epoch, row.request_id)
            tokens = self.by_epoch.setdefault((row.epoch, row.model), [0, 0, 0])
            tokens[0] += 1
            tokens[1] += row.input
            tokens[2] += row.output
        self.seq = rows[-1].seq
        self.faults.looked(RATED, len(rows))
        self.faults.looked(ONCE, len(rows))

    def _month_of(self, instant: int) -> str:
        """Nearly always that of the row before, which need not be worked out again."""
        if not self._month.start <= instant < self._month.end:
            self._month = month_of(instant)
        return self._month.name

    def drop(self, tenant_id: str, key_id: str, currency: str, month: str, amount: int) -> None:
        """Count a sum of usage rows that are in an archive and no longer here."""
        self.charged[tenant_id, currency] += amount
        if key_id in self._budgeted:
            self.spent[Spent(key_id, month)] += amount

    def match(
        self, settled: Sequence[Settled], rows: Mapping[str, Used], archived: Container[str], accounts: Mapping[str, Balance]
    ) -> None:
        """Requests as the ledger settled them, and the usage rows of these requests, or that they are in an archive."""
        for one in settled:
            row = rows.get(one.request_id)
            if row is not None:
                self._compare(one, row, accounts)
            elif one.posted and one.request_id not in archived:
                self.faults.found(POSTED, f"request {one.request_id} posted {one.posted}, and there is no usage row for it")
        self.faults.looked(POSTED, len(settled))
        self.faults.looked(OWN, len(settled))

    def _compare(self, one: Settled, row: Used, accounts: Mapping[str, Balance]) -> None:
        self.with_posts += row.amount > 0
        if row.amount != one.posted:
            self.faults.found(POSTED, f"request {row.request_id} was charged {row.amount} and posted {one.posted}")
        earns = one.credit.partition("#")[0] == f"revenue/{row.currency}/{row.model}"  # each writer has a '#2' of its own
        for debit in one.debits:
            if not earns or accounts[debit].tenant_id != row.tenant_id or not _is_credit(debit, row):
                self.faults.found(
                    OWN, f"request {row.request_id} of {row.tenant_id} drew on {debit} for {one.credit}"
                )


def _is_credit(debit: str, row: Used) -> bool:
    """A grant, or what a tenant may owe, or a slice of one of them: nothing else pays for a request."""
    origin = origin_of(debit)
    return origin.startswith(GRANT) or origin == f"{RECEIVABLE}{row.tenant_id}/{row.currency}"


def _wrongly_rated(row: Used, price: PriceVersion | str) -> str | None:
    if isinstance(price, str):
        return f"request {row.request_id}: {price}"
    charge = rate(TokenCounts(row.input, row.cached_input, row.output, row.reasoning), price)
    own = price.model == row.model or is_tuned_on(row.model, price.model)
    if own and (charge.amount, charge.tier, price.currency) == (row.amount, row.tier, row.currency):
        return None
    return (
        f"request {row.request_id} was charged {row.amount} {row.currency} for {row.model} in tier {row.tier}; by {price.id} "
        f"it comes to {charge.amount} {price.currency} for {price.model} in tier {charge.tier}"
    )
