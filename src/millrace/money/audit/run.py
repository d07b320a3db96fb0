"""Every invariant of the books, recomputed from the rows.

Theory of operation. Transfers and usage rows are never changed, so what lies before a sealed sequence number is read in pages,
each in a snapshot of its own that lasts some hundredths of a second, and played again in memory (replay.py, consumption.py).
Then one snapshot takes the few rows that came since, and compares what stands now (standing.py): accounts, holds, grants,
budgets, leases, chains. A reader that stayed for an hour would keep SQLite's log from being reused and PostgreSQL's dead rows
from being taken away; this one stays for as long as it takes to read the accounts.

An audit that found everything in order leaves a mark (mark.py) where its sealed rows end: the next may begin there. A full one
begins at the first row all the same, and looks on its way whether the last mark says what the rows up to it come to.

Memory grows with accounts that were touched, with keys that have a budget and with open holds, not with transfers or usage.

Not covered: what the rows cannot know, such as what a client got (the journal and the tests under tests/races say that); and
who can write the database can make the hash chain anew, which only heads noted elsewhere would tell.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from millrace.money.audit import standing, store
from millrace.money.audit.check import Check
from millrace.money.audit.consumption import BUDGET, ONCE, POSTED, Consumption, Spent, Used
from millrace.money.audit.faults import Faults
from millrace.money.audit.mark import Mark
from millrace.money.audit.replay import Replay, origin_of
from millrace.money.audit.store import LAST_SEQ, PAGE_ROWS, Ends, Numbers, Read, Row
from millrace.money.invoices import verify as invoices
from millrace.money.rating.book import PriceVersion
from millrace.store.transaction import Tx

MARKED: Final = "the last mark says what the rows up to it come to"

Tell = Callable[[int], object]
"""Told how many rows were read since it was told last."""


class MovedOn(Exception):
    """Usage rows were archived and deleted while they were read: begin again."""


def audit(tx: Tx) -> list[Check]:
    """All checks in the caller's one snapshot, each of them to its end: one disagreement does not hide another."""
    auditor = Auditor(lambda work: work(tx))
    auditor.conclude()
    return auditor.checks()


class Auditor:
    """One audit, from the first row or from a mark. `advance` as far as the rows are sealed, then `conclude`; `checks` is what
    it found.
    """

    def __init__(self, read: "Read[Any]", tell: Tell = lambda _: None, *, begin: Mark | None = None) -> None:
        self.faults = Faults()
        self.replay = Replay(self.faults)
        self.consumption = Consumption(self.faults, read(store.budgeted))
        self._read = read
        self._tell = tell
        self._prices: dict[str, PriceVersion | str] = {}
        self._begin = begin
        self._noted: dict[Spent, int] = {}
        self._dropped_to: tuple[int, int] = read(self._begin_with)

    def advance(self, until: Ends) -> None:
        """Read all rows up to there, a page in a snapshot."""
        while self._transfers(self._read, until.transfers):
            pass
        while self._usage(self._read, until.usage):
            pass

    def compare(self, mark: Mark) -> None:
        """Whether the mark that lies where the rows were read to says what they come to. From there on, only what changes
        since needs to be noted.
        """
        found = self._differs(mark)
        self.faults.looked(MARKED, len(self.replay.balances))
        if found is not None:
            self.faults.found(MARKED, f"mark {mark.number}: {found}; it is replaced once all else agrees")
            return
        for balance in self.replay.balances.values():
            balance.changed = False
        self._noted = dict(self.consumption.spent)

    def changes(self) -> list[str]:
        """What a new mark has to note: accounts and budgets that are not where the last mark left them."""
        accounts = [name for name, balance in self.replay.balances.items() if balance.changed]
        return accounts + [key.name for key, amount in self.consumption.spent.items() if self._noted.get(key, 0) != amount]

    def numbers(self, tx: Tx, names: list[str]) -> list[tuple[str, Numbers]]:
        """Where these stand now."""
        spent = {key.name: amount for key, amount in self.consumption.spent.items()}
        before = store.balances_of(tx, [name for name in names if name in spent], self._mark)
        return [
            (name, balance.numbers)
            if (balance := self.replay.balances.get(name)) is not None
            else (name, (0, 0, 0, 0, before.get(name, store.NOTHING)[4] + spent[name], 0))
            for name in names
        ]

    def conclude(self) -> None:
        """Read the rest, and compare what stands now, in one snapshot. Raises `MovedOn` when that is in vain."""
        for one in invoices.verify(self._read, since=self._begin.at if self._begin else 0):
            self.faults.looked(one.name, one.checked)
            if one.findings:
                self.faults.found(one.name, one.findings[0])
        self._read(self._conclude)

    def checks(self) -> list[Check]:
        return self.faults.checks()

    @property
    def _mark(self) -> int:
        """The number of the mark where it began; 0: at the first row."""
        return self._begin.number if self._begin else 0

    def _begin_with(self, tx: Tx) -> tuple[int, int]:
        """Where the mark was, or what is in an archive; returns how far that is, which may not change until the end."""
        if self._begin is not None:
            self._resume(tx, self._begin)
        else:
            for dropped in store.dropped(tx):
                self.consumption.drop(*dropped)
        return store.dropped_to(tx)

    def _resume(self, tx: Tx, mark: Mark) -> None:
        self.replay.resume_at(mark.transfers, mark.chains)
        self.consumption.seq = mark.usage
        named = {name for one in mark.waiting.values() for name in (one.debit, one.credit)}
        self._meet(tx, named | {origin_of(name) for name in named})
        for id_, waiting in mark.waiting.items():
            self.replay.resume(id_, waiting)

    def _differs(self, mark: Mark) -> str | None:
        if self.replay.waiting != mark.waiting:
            return "other transfers were pending there"
        if sorted(self.replay.chains.values(), key=lambda one: one.number) != list(mark.chains):
            return "the chains end otherwise there"
        spent = {key.name: amount for key, amount in self.consumption.spent.items()}
        archived_since = self._dropped_to[0] > mark.usage  # then what was spent up to the mark cannot be told from later
        after = ""
        while page := self._read(partial(store.balances, mark=mark.number, after=after)):
            for name, said in page:
                if archived_since and name.startswith(BUDGET):
                    continue
                balance = self.replay.balances.get(name)
                found = balance.numbers if balance else (0, 0, 0, 0, spent.get(name, 0), 0)
                if found != said:
                    return f"{name} is said to be at {said}, and is at {found}"
            after = page[-1][0]
        return None

    def _conclude(self, tx: Tx) -> None:
        def read(work: Callable[[Tx], Any]) -> Any:
            return work(tx)

        if store.dropped_to(tx) != self._dropped_to:
            raise MovedOn
        while self._transfers(read, LAST_SEQ):
            pass
        while self._usage(read, LAST_SEQ):
            pass
        self.replay.missed()
        self._count_posts(tx)
        standing.check_all(tx, self.replay, self.consumption, self._mark)
        found = store.first(tx, "usage_and_hold")
        if found is not None:
            self.faults.found(ONCE, found)

    def _transfers(self, read: "Read[Any]", until: int) -> bool:
        """One page; False when it was the last."""

        def page(tx: Tx) -> list[Row]:
            rows = store.transfers(tx, self.replay.seq, until)
            self._meet(tx, self.replay.unknown(rows))
            return rows

        rows = read(page)
        if not rows:
            return False
        self.replay.feed(rows)
        read(self._match)
        self._tell(len(rows))
        return len(rows) == PAGE_ROWS

    def _meet(self, tx: Tx, accounts: set[str]) -> None:
        found = store.opened(tx, accounts, self._mark)
        for account in sorted(accounts):
            self.replay.open(account, found.get(account))

    def _match(self, tx: Tx) -> None:
        """What the ledger settled beside the usage rows of it."""
        settled = self.replay.drain()
        rows = {row.request_id: row for row in store.usage_of(tx, [one.request_id for one in settled])}
        archived = store.archived_of(tx, [one.request_id for one in settled if one.request_id not in rows])
        self.consumption.match(settled, rows, archived, self.replay.balances)

    def _usage(self, read: "Read[Any]", until: int) -> bool:
        """One page; False when it was the last."""

        def page(tx: Tx) -> tuple[list[Used], str | None]:
            rows = store.usage(tx, self.consumption.seq, until)
            for price_id in {row.price_id for row in rows} - self._prices.keys():
                self._prices[price_id] = store.price(tx, price_id)
            return rows, store.usage_twice(tx, [row.request_id for row in rows])

        rows, twice = read(page)
        if not rows:
            return False
        self.consumption.feed(rows, self._prices)
        if twice is not None:
            self.faults.found(ONCE, twice)
        self._tell(len(rows))
        return len(rows) == PAGE_ROWS

    def _count_posts(self, tx: Tx) -> None:
        """Each request with posts was compared with its usage row; if there are more rows with an amount, one has none."""
        if self.consumption.with_amount != self.consumption.with_posts and not self.faults.has(POSTED):
            found = store.usage_without_post(tx, self._begin.usage if self._begin else 0)
            self.faults.found(POSTED, found or "there are more usage rows with an amount than requests with posts")
