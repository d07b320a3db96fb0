"""Epochs in the database.

Theory of operation. Each server process has an epoch, a number that no server before it had, and renews its lease on it with
everything that it writes. Another server may take a dead one's epoch over: then the dead one, should it only have slept,
finds its renewal refused (it is *fenced*) and with it the whole transaction. Dead is an epoch whose process is gone, which a
server of the same home sees by the free lock of its journal, or whose lease has run out on the database's clock.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from millrace.base.clock import NS_PER_S
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.epochs")

LEASE_NS: Final = 5 * NS_PER_S
"""How long a server that has gone silent keeps its holds before another settles them."""


class Begun(NamedTuple):
    """A new epoch and its slot: the smallest number that no other living server has, from 1."""

    number: int
    slot: int


class Other(NamedTuple):
    """An epoch that is not over and not ours; `taken_by` is whoever settles it, 0 for nobody."""

    number: int
    home: str
    lease_until: int
    taken_by: int
    taker_lives: bool
    taker_home: str


def begin(
    tx: Tx, *, now: int, lease_now: int, home: str, lock: Callable[[int], None], lease_ns: int = LEASE_NS
) -> Begun:
    """A number that no server before this one had. `lock` makes its life visible on this machine before others can see it."""
    row = None
    while row is None:
        row = tx.row(_SQL["begin"], now=now, home=home, lease_until=lease_now + lease_ns)
    begun = Begun(*row)
    lock(begun.number)
    return begun


def renew(tx: Tx, number: int, lease_now: int, lease_ns: int = LEASE_NS) -> bool:
    """Whether the epoch is still ours; it is for `lease_ns` more, and nobody takes it over before this transaction ends."""
    return tx.run(_SQL["renew"], number=number, lease_until=lease_now + lease_ns) == 1


def living(tx: Tx, lease_now: int) -> int:
    """Servers that are alive, as far as the database knows."""
    return int(tx.rows(_SQL["living"], now=lease_now)[0][0])


def others(tx: Tx, number: int, lease_now: int) -> list[Other]:
    return [
        Other(row[0], row[1], row[2], row[3] or 0, bool(row[4]), row[5] or "")
        for row in tx.rows(_SQL["others"], number=number, now=lease_now)
    ]


def take_over(tx: Tx, other: Other, taker: int) -> bool:
    """Fence it: from here on only `taker` settles what it left. False when it is not as it was found."""
    return tx.run(
        _SQL["take_over"], number=other.number, taker=taker, lease_until=other.lease_until, taken_by=other.taken_by
    ) == 1  # fmt: skip


def taken(tx: Tx, taker: int) -> list[tuple[int, str]]:
    """Epochs that the taker has to settle and has not ended yet, with their homes."""
    return [(number, home) for number, home in tx.rows(_SQL["taken"], taker=taker)]


def end(tx: Tx, number: int, now: int) -> bool:
    """True when nothing of the epoch was left open, and only then it is over."""
    return tx.run(_SQL["end"], number=number, now=now) == 1


def is_over(tx: Tx, number: int) -> bool:
    return tx.row(_SQL["is_over"], number=number) is not None
