"""The rows that an audit reads, in pages by a key. Nothing here judges them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from millrace.base.errors import Refusal
from millrace.base.money import NANO
from millrace.base.times import day_of, month_of
from millrace.money.audit.consumption import Used
from millrace.money.audit.mark import Mark, parse_chains, parse_waiting, render_chains, render_waiting
from millrace.money.audit.replay import GRANT, RECEIVABLE, Opened, origin_of
from millrace.money.ledger.chain import Chain
from millrace.money.ledger.entries import Account
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.store import price_by_id
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.audit")

PAGE_ROWS: Final = 5_000
"""Rows read at once: some megabytes, and a snapshot of some hundredths of a second."""

SPAN_ROWS: Final = 100_000
"""Rows that the database sums up at once: a sort in memory, and a snapshot of some tenths of a second."""

LAST_SEQ: Final = 2**63 - 1

NOTHING: Final = (0, 0, 0, 0, 0, 0)
"""The balance of an account without transfers."""

_BALANCE_COLUMNS: Final = (
    "name", "mark", "debits_pending", "debits_posted", "credits_pending", "credits_posted", "used", "expired"
)

WRITTEN_AT_ONCE: Final = 1_000
"""Balances in one transaction: requests that wait for the writer meanwhile wait some milliseconds."""

STALE_NS: Final = 6 * 3600 * NANO
"""A daily audit that has not ended after so long was killed: the rows of a day are read in minutes."""

AGAIN_NS: Final = 600 * NANO
"""What keeps an audit from being made, such as a database that is away, may be gone by then."""

_DAY_NS: Final = 86_400_000_000_000

Row = tuple[Any, ...]
Numbers = tuple[int, ...]
T = TypeVar("T")
Read = Callable[[Callable[[Tx], T]], T]


class Ends(NamedTuple):
    """Sequence numbers up to which the rows of both tables are read."""

    transfers: int
    usage: int


class Held(NamedTuple):
    """An open hold."""

    request_id: str
    amount: int
    currency: str
    legs: int
    draws: str


class Given(NamedTuple):
    """A grant beside its account; the account's numbers are None where there is none."""

    id: str
    amount: int
    currency: str
    account_currency: str | None
    left: int | None
    held: int | None


class UsedDay(NamedTuple):
    """Usage that finished on a day (counted from 1970), on an invoice or on none."""

    day: int
    model: str
    currency: str
    invoiced: bool
    requests: int
    input: int
    output: int
    waived: int
    amount: int


class EarnedDay(NamedTuple):
    """What a revenue account got on a day by posts, or by single transfers, which invoices make."""

    day: int
    account: str
    kind: str
    amount: int


def seal(tx: Tx) -> Ends:
    """Sequence numbers below which no row will appear any more. Needs a transaction that may write."""
    tx.rows(_SQL["wait_briefly"])
    tx.run(_SQL["close_ranges"])
    return ends(tx)


def ends(tx: Tx) -> Ends:
    """Where the rows that can be seen end; others with lower numbers may still be under way."""
    return Ends(*tx.rows(_SQL["ends"])[0])


def transfers(tx: Tx, after: int, until: int) -> list[Row]:
    """The next page: seq, id, kind, debit, credit, amount, pending id, at, chain, hash."""
    return tx.rows(_SQL["transfers"], after=after, until=until, limit=PAGE_ROWS)


def opened(tx: Tx, accounts: Iterable[str], mark: int) -> dict[str, Opened]:
    """Currency and owner of accounts, and where the mark left them (mark 0: nowhere).

    A grant's account is its tenant's by the grant's row, a receivable by its name, a lease is whose its origin is.
    """
    ids = sorted(accounts)
    if not ids:
        return {}
    currencies = dict(tx.rows(_SQL["currencies"], ids=ids))
    origins = {account: origin_of(account) for account in ids}
    grants = sorted({origin.removeprefix(GRANT) for origin in origins.values() if origin.startswith(GRANT)})
    grantees = dict(tx.rows(_SQL["grantees"], ids=grants)) if grants else {}
    stood = balances_of(tx, ids, mark)
    return {
        account: Opened(currencies[account], _owner(origins[account], grantees), stood.get(account, NOTHING))
        for account in ids
        if account in currencies
    }


def usage(tx: Tx, after: int, until: int) -> list[Used]:
    """The next page."""
    return [Used(*row) for row in tx.rows(_SQL["usage"], after=after, until=until, limit=PAGE_ROWS)]


def usage_of(tx: Tx, request_ids: list[str]) -> list[Used]:
    return [Used(*row) for row in tx.rows(_SQL["usage_of"], ids=request_ids)] if request_ids else []


def archived_of(tx: Tx, request_ids: list[str]) -> set[str]:
    """Which of the requests are in an archive, their usage rows deleted."""
    return {row[0] for row in tx.rows(_SQL["archived_of"], ids=request_ids)} if request_ids else set()


def dropped_to(tx: Tx) -> tuple[int, int]:
    """How far usage rows were deleted: another answer means that more were."""
    last, ranges = tx.rows(_SQL["dropped_to"])[0]
    return last, ranges


def dropped(tx: Tx) -> list[tuple[str, str, str, str, int]]:
    """What deleted usage rows came to: tenant, key, currency, the month in which it was held for, nano-units."""
    return [
        (tenant_id, key_id, currency, month_of(day * _DAY_NS).name, units * NANO + nano)
        for tenant_id, key_id, currency, day, units, nano in tx.rows(_SQL["dropped"])
    ]


def usage_twice(tx: Tx, request_ids: list[str]) -> str | None:
    row = tx.row(_SQL["usage_twice"], ids=request_ids)
    return None if row is None else str(row[0])


def usage_without_post(tx: Tx, after: int) -> str | None:
    row = tx.row(_SQL["usage_without_post"], after=after)
    return None if row is None else str(row[0])


def price(tx: Tx, price_id: str) -> PriceVersion | str:
    """The version, or why there is none."""
    try:
        return price_by_id(tx, price_id)
    except Refusal as refusal:
        return refusal.sentence


def budgeted(tx: Tx) -> frozenset[str]:
    """The keys that have or had a budget."""
    return frozenset(row[0] for row in tx.rows(_SQL["budgeted"]))


def accounts(tx: Tx) -> Iterator[list[Account]]:
    """Page by page, by id."""
    return ([Account(*row) for row in page] for page in _pages(tx, "accounts"))


def holds(tx: Tx) -> Iterator[Held]:
    return (Held(*row) for page in _pages(tx, "holds") for row in page)


def grants(tx: Tx) -> Iterator[list[Given]]:
    """Page by page, by id."""
    return ([Given(*row) for row in page] for page in _pages(tx, "grants"))


def chains(tx: Tx) -> list[Chain]:
    return [Chain(*row) for row in tx.rows(_SQL["chains"])]


def epochs(tx: Tx) -> set[int]:
    return {row[0] for row in tx.rows(_SQL["epochs"])}


def budgets(tx: Tx) -> Iterator[list[Row]]:
    """Page by page: key, month, held, spent."""
    return ([row[1:] for row in page] for page in _pages(tx, "budgets"))


def budget_holds(tx: Tx) -> list[Row]:
    """Key, month, amount of each open hold that counts in a budget."""
    return tx.rows(_SQL["budget_holds"])


def count(tx: Tx, what: str) -> int:
    return int(tx.rows(_SQL[f"count_{what}"])[0][0])


def first(tx: Tx, *questions: str) -> str | None:
    """The first row that one of the questions finds in disagreement, as a text that names it."""
    for question in questions:
        row = tx.row(_SQL[question])
        if row is not None:
            return str(row[0])
    return None


def last_mark(tx: Tx) -> Mark | None:
    row = tx.row(_SQL["last_mark"])
    if row is None:
        return None
    number, transfers_, usage_, chains_, waiting, at = row
    return Mark(
        number=number, transfers=transfers_, usage=usage_, chains=parse_chains(chains_), waiting=parse_waiting(waiting), at=at
    )


def balances_of(tx: Tx, names: list[str], mark: int) -> dict[str, Numbers]:
    """Where the mark left these; those that it never met are left out."""
    if not mark or not names:
        return {}
    return {row[0]: row[1:] for row in tx.rows(_SQL["balances_of"], names=names, mark=mark)}


def balances(tx: Tx, mark: int, after: str) -> list[tuple[str, Numbers]]:
    """The next page of what a mark says, by name."""
    return [(row[0], row[1:]) for row in tx.rows(_SQL["balances"], mark=mark, after=after, limit=PAGE_ROWS)]


def write_balances(tx: Tx, mark: int, rows: Iterable[tuple[str, Numbers]]) -> None:
    """They count once the mark is there."""
    tx.insert("audit_balance", _BALANCE_COLUMNS, [(name, mark, *numbers) for name, numbers in rows])


def forget_unfinished(tx: Tx, mark: int) -> bool:
    """Delete some of what an audit wrote after the mark and did not come to its end; False when there is none left."""
    names = [row[0] for row in tx.rows(_SQL["unfinished_balances"], mark=mark, limit=WRITTEN_AT_ONCE)]
    if names:
        tx.run(_SQL["delete_unfinished"], mark=mark, names=names)
    return bool(names)


def forget_superseded(tx: Tx, mark: int, names: list[str]) -> None:
    tx.run(_SQL["delete_superseded"], mark=mark, names=names)


def write_mark(tx: Tx, mark: Mark, balances: int) -> bool:
    """Make the mark count; False, and nothing done, unless that many balances are noted for it."""
    return tx.run(
        _SQL["insert_mark"], number=mark.number, transfers=mark.transfers, usage=mark.usage,
        chains=render_chains(mark.chains), waiting=render_waiting(mark.waiting), at=mark.at, balances=balances,
    ) == 1  # fmt: skip


def usage_days(tx: Tx, after: int, until: int, start: int, end: int) -> list[UsedDay]:
    """Sums of the usage rows of a span that finished in [start, end)."""
    return [_used_day(row) for row in tx.rows(_SQL["usage_days"], after=after, until=until, start=start, end=end)]


def dropped_days(tx: Tx, start: int, end: int) -> list[UsedDay]:
    """The same of usage rows that are in an archive and no longer here."""
    rows = tx.rows(_SQL["dropped_days"], first=start // _DAY_NS, last=(end - 1) // _DAY_NS)
    return [_used_day(row) for row in rows]


def revenue_days(tx: Tx, after: int, until: int, start: int, end: int) -> list[EarnedDay]:
    """Sums of the transfers of a span to and from revenue, made in [start, end)."""
    rows = tx.rows(_SQL["revenue_days"], after=after, until=until, start=start, end=end)
    return [EarnedDay(day, account, kind, int(units) * NANO + int(nano)) for day, account, kind, units, nano in rows]


def made(tx: Tx, start: int, end: int) -> list[Row]:
    """What engines say they made: day, model, requests, input, output."""
    rows = tx.rows(_SQL["made"], first=day_of(start), last=day_of(end - 1))
    return [(day, model, *map(int, sums)) for day, model, *sums in rows]


def made_by_epoch(tx: Tx) -> list[Row]:
    """The same by servers that ended in good order: epoch, model, requests, input, output."""
    return tx.rows(_SQL["made_by_epoch"])


def claim_day(tx: Tx, day: str, now: int) -> bool:
    """Whether the caller audits that day: nobody does or did, or whoever began did not come to an end."""
    return tx.run(_SQL["claim_day"], day=day, now=now, stale=now - STALE_NS) == 1


def is_over(tx: Tx, day: str) -> bool:
    return tx.row(_SQL["day_over"], day=day) is not None


def finish_day(tx: Tx, day: str, now: int, failed: int) -> None:
    tx.run(_SQL["finish_day"], day=day, now=now, failed=failed)


def put_off_day(tx: Tx, day: str, now: int) -> None:
    """The caller could not: after a while whoever asks may try again."""
    tx.run(_SQL["put_off_day"], day=day, claimed_at=now - STALE_NS + AGAIN_NS)


def _pages(tx: Tx, query: str) -> Iterator[list[Row]]:
    """All rows of a query in pages by its first column, which is its key."""
    after = ""
    while rows := tx.rows(_SQL[query], after=after, limit=PAGE_ROWS):
        yield rows
        after = rows[-1][0]


def _used_day(row: Row) -> UsedDay:
    day, model, currency, invoiced, *sums = row
    requests, input_, output, waived, units, nano = map(int, sums)
    return UsedDay(day, model, currency, bool(invoiced), requests, input_, output, waived, units * NANO + nano)


def _owner(origin: str, grantees: dict[str, str]) -> str:
    if origin.startswith(GRANT):
        return grantees.get(origin.removeprefix(GRANT), "")
    return origin.split("/")[1] if origin.startswith(RECEIVABLE) else ""
