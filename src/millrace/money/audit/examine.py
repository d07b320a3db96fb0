"""The audit of a database that is in use: sealed rows page by page, what stands now in one snapshot, a mark at its end."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from millrace.money.audit import store
from millrace.money.audit.check import Check
from millrace.money.audit.mark import Mark, mark_of
from millrace.money.audit.run import MARKED, Auditor, MovedOn, Tell
from millrace.money.audit.store import WRITTEN_AT_ONCE, Ends
from millrace.money.ledger.chain import Chain
from millrace.store.database import Database

TRIES: Final = 3
"""An archive deletes usage rows once a day at most; meeting it three times in a row means something else."""


class Findings(Struct, frozen=True):
    """What an audit found, where the chains ended, how many transfers and usage rows it read, since which mark (0: all)."""

    checks: list[Check]
    heads: tuple[Chain, ...]
    rows: int
    since: int

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def extent(db: Database, *, since_mark: bool) -> int:
    """About how many rows an audit will read: for a display of how far it is."""
    ends = db.read(store.ends)
    mark = db.read(store.last_mark) if since_mark else None
    began = Ends(mark.transfers, mark.usage) if mark else Ends(0, 0)
    return ends.transfers - began.transfers + ends.usage - began.usage


def examine(
    db: Database, now: int, *, since_mark: bool, tell: Tell = lambda _: None, heads: Sequence[Chain] = ()
) -> Findings:
    """Audit from the first row, or from the last mark; leave a mark when everything agrees.

    `heads`: how chains ended by what was noted elsewhere; needs all rows, so it goes with `since_mark` False.
    Blocks for as long as it takes: call it from a thread. Reads in snapshots of hundredths of a second and one of some seconds.
    """
    for _ in range(TRIES - 1):
        try:
            return _examine(db, now, since_mark, tell, heads)
        except MovedOn:
            since_mark = False  # what was deleted may lie behind the mark
    return _examine(db, now, since_mark, tell, heads)


def _examine(db: Database, now: int, since_mark: bool, tell: Tell, heads: Sequence[Chain]) -> Findings:
    sealed = db.write_now(store.seal)
    mark = db.read(store.last_mark)
    while db.write_now(lambda tx: store.forget_unfinished(tx, mark.number if mark else 0)):
        pass
    usable = since_mark and mark is not None and mark.usage >= db.read(store.dropped_to)[0]
    rows = 0

    def count(read: int) -> None:
        nonlocal rows
        rows += read
        tell(read)

    auditor = Auditor(db.read, count, begin=mark if usable else None)
    if heads:
        auditor.replay.watch(heads)
    if mark is not None and not usable:
        auditor.advance(Ends(mark.transfers, mark.usage))
        auditor.compare(mark)
    auditor.advance(sealed)
    number = max(now, mark.number + 1 if mark else 1)  # its own, also when two audits run at once
    following = mark_of(auditor.replay, number=number, usage=sealed.usage, at=now)
    changed = _note(db, auditor, following.number)
    auditor.conclude()
    checks = auditor.checks()
    if all(check.ok or check.name == MARKED for check in checks):
        _leave(db, following, changed)
    ended = tuple(sorted(auditor.replay.chains.values(), key=lambda chain: chain.number))
    return Findings(checks, ended, rows, mark.number if mark is not None and usable else 0)


def _note(db: Database, auditor: Auditor, number: int) -> list[str]:
    """Write down where the accounts stand; it counts once the mark does."""
    names = auditor.changes()
    for start in range(0, len(names), WRITTEN_AT_ONCE):
        some = names[start : start + WRITTEN_AT_ONCE]
        numbers = db.read(partial(auditor.numbers, names=some))
        db.write_now(partial(store.write_balances, mark=number, rows=numbers))
    return names


def _leave(db: Database, mark: Mark, changed: list[str]) -> None:
    """Of two audits at once one may find that the other cleared its notes away: then it leaves no mark."""
    if not db.write_now(lambda tx: store.write_mark(tx, mark, len(changed))):
        return
    for start in range(0, len(changed), WRITTEN_AT_ONCE):
        some = changed[start : start + WRITTEN_AT_ONCE]
        db.write_now(partial(store.forget_superseded, mark=mark.number, names=some))
