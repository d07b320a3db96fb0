"""The same day four times: what engines say they made, what usage says, what the ledger posted, what is on invoices.

Tokens and money apart, a line for each model and UTC day, with what does not agree in a column of its own: nothing is netted.
A difference of tokens is no fault by itself. Engines count a token on the day it came, usage the whole request on the day it
ended; a kill loses the engines' last seconds; and what was made and neither billed nor waived never left.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import Struct

from millrace.base.times import day_of
from millrace.money.audit import store
from millrace.money.audit.store import SPAN_ROWS, Read

_DAY_NS: Final = 86_400_000_000_000


class Tokens(Struct, frozen=True):
    """Of one source."""

    requests: int
    input: int
    output: int


class TokenLine(Struct, frozen=True):
    """`engine` is None where nobody counted. `difference`: what engines made and is neither billed nor waived."""

    day: str
    model: str
    engine: Tokens | None
    usage: Tokens
    waived: int
    invoiced: Tokens

    @property
    def difference(self) -> int | None:
        if self.engine is None:
            return None
        return self.engine.input + self.engine.output - self.usage.input - self.usage.output - self.waived


class MoneyLine(Struct, frozen=True):
    """Nano-units. `rounding`: what invoices of that day put right in revenue. `difference`: what usage says and the ledger
    did not post.
    """

    day: str
    model: str
    currency: str
    usage: int
    ledger: int
    rounding: int
    invoiced: int

    @property
    def difference(self) -> int:
        return self.usage - self.ledger


class Reconciliation(Struct, frozen=True):
    """Of a span of days, by day and model."""

    tokens: list[TokenLine]
    money: list[MoneyLine]


class _Key(NamedTuple):
    day: str
    model: str


class _Sums:
    """Adds up what comes span by span."""

    def __init__(self) -> None:
        self.engine: dict[_Key, Tokens] = {}
        self.usage: dict[_Key, list[int]] = defaultdict(lambda: [0] * 7)
        """Requests, input, output, waived; and what of the first three is on an invoice."""
        self.money: dict[tuple[_Key, str], list[int]] = defaultdict(lambda: [0] * 4)
        """Usage, ledger, rounding, invoiced."""

    def add_usage(self, rows: Iterable[store.UsedDay]) -> None:
        for row in rows:
            key = _Key(day_of(row.day * _DAY_NS), row.model)
            tokens, money = self.usage[key], self.money[key, row.currency]
            for place, amount in enumerate((row.requests, row.input, row.output, row.waived)):
                tokens[place] += amount
            money[0] += row.amount
            if row.invoiced:
                for place, amount in enumerate((row.requests, row.input, row.output), 4):
                    tokens[place] += amount
                money[3] += row.amount

    def add_revenue(self, rows: Iterable[store.EarnedDay]) -> None:
        for row in rows:
            _, currency, model = row.account.split("/", 2)
            money = self.money[_Key(day_of(row.day * _DAY_NS), model.partition("#")[0]), currency]
            money[1 if row.kind == "post" else 2] += row.amount

    def lines(self) -> Reconciliation:
        nothing = [0] * 7
        tokens = []
        for key in sorted(self.engine.keys() | self.usage.keys()):
            used = self.usage.get(key, nothing)
            tokens.append(
                TokenLine(*key, self.engine.get(key), Tokens(*used[:3]), used[3], Tokens(*used[4:]))
            )
        money = [MoneyLine(*key, currency, *sums) for (key, currency), sums in sorted(self.money.items())]
        return Reconciliation(tokens, money)


def reconcile(read: "Read[Any]", start: int, end: int) -> Reconciliation:
    """Days from `start` to `end` (both midnights UTC, the end not included). Reads span by span, each in a snapshot of its
    own: what is settled meanwhile may be on one side only, and agrees the next time.
    """
    sums = _Sums()
    ends = read(store.ends)
    for after in range(0, ends.transfers, SPAN_ROWS):
        until = min(after + SPAN_ROWS, ends.transfers)
        sums.add_revenue(read(partial(store.revenue_days, after=after, until=until, start=start, end=end)))
    for after in range(0, ends.usage, SPAN_ROWS):
        until = min(after + SPAN_ROWS, ends.usage)
        sums.add_usage(read(partial(store.usage_days, after=after, until=until, start=start, end=end)))
    sums.add_usage(read(lambda tx: store.dropped_days(tx, start, end)))
    for day, model, *made in read(lambda tx: store.made(tx, start, end)):
        sums.engine[_Key(day, model)] = Tokens(*made)
    return sums.lines()
