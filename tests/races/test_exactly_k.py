"""A balance for exactly k requests, under fifty times as many callers on one server and on four: exactly k are admitted."""

import os
import selectors
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from tests import postgres
from tests.money.house import disagreements, move_in, price_of
from tests.races.callers import ADMITTED, INPUT, OPEN, OUTPUT, REFUSED, TOLD_TO_WAIT, Crowd, call
from tests.races.nursery import Nursery

from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.rating.rate import upper_bound
from millrace.schema import open_database
from millrace.store.database import Database
from millrace.store.transaction import Tx

CALLERS_FOR_EACH: Final = 50
MANY: Final = 100
"""From so many requests in the balance on, servers take slices of it at all."""

PATIENCE_S: Final = 120.0
SHARES: Final = {1: (1.0,), 4: (0.5, 0.25, 0.25, 0.0)}
"""Which part of the callers comes to which server; the last one of four only has a slice of the credit."""

SLICES: Final = """SELECT COUNT(CASE WHEN credit_account LIKE 'lease/%' THEN 1 END),
  COUNT(CASE WHEN debit_account LIKE 'lease/%' THEN 1 END) FROM transfer WHERE kind = 'single'"""


def fund(tx: Tx, k: int) -> None:
    move_in(tx)
    amount = k * upper_bound(INPUT, OUTPUT, price_of(tx, "tiny"))
    grants.give(
        tx,
        grants.new_grant(
            id="gr_k", tenant_id="ten_acme", amount=amount, currency="CNY", funding=Funding.CUSTOMER, now=time.time_ns()
        ),
    )


class Told:
    """What the servers tell, all of them together."""

    def __init__(self, pipes: list[int]) -> None:
        self.counts: Counter[bytes] = Counter()
        self.over = 0
        self._waiting = selectors.DefaultSelector()
        for pipe in pipes:
            self._waiting.register(pipe, selectors.EVENT_READ)

    def wait(self, *, letters: tuple[bytes, ...] = (), number: int = 0, ends: int = 0) -> None:
        """Until so many of these letters have come, and so many have ended."""
        until = time.monotonic() + PATIENCE_S
        while sum(self.counts[letter] for letter in letters) < number or self.over < ends:
            assert time.monotonic() < until, f"{self.counts}, {self.over} ended: some wait for ever"
            for ready, _ in self._waiting.select(1):
                data = os.read(ready.fd, 65_536)
                self.counts.update(bytes([letter]) for letter in data)
                if not data:
                    self._waiting.unregister(ready.fd)
                    os.close(ready.fd)
                    self.over += 1


def storm(
    nursery: Nursery, db: Database, place: str, folder: Path, k: int, servers: int, homes: int, *, dead: bool = False
) -> Counter[bytes]:
    """All callers on all servers at once; what they came to. `dead`: the one that has a slice and no callers is killed."""
    db.write_now(lambda tx: fund(tx, k))
    go = folder / "go"
    pipes, pid = [], 0
    for number, share in enumerate(SHARES[servers]):
        home = folder / f"home{number % homes}"
        home.mkdir(exist_ok=True)
        crowd = Crowd(place, home, round(share * k * CALLERS_FOR_EACH), go, shared=servers > 1, far=homes > 1)
        pid, pipe = nursery.born(call, crowd, home / "server.log")
        pipes.append(pipe)
    told = Told(pipes)
    told.wait(letters=(OPEN,), number=servers)
    if dead:
        os.kill(pid, signal.SIGKILL)
    go.touch()
    told.wait(letters=(ADMITTED, REFUSED), number=sum(round(share * k * CALLERS_FOR_EACH) for share in SHARES[servers]))
    go.unlink()
    told.wait(ends=servers)
    return told.counts


def judge(db: Database, told: Counter[bytes], k: int, *, sliced: bool) -> None:
    """Exactly k were admitted, their usage is all there is, and nothing is left."""
    assert told[ADMITTED] == k
    taken, back = db.read(lambda tx: tx.rows(SLICES))[0]
    print(f"k = {k}: {taken} times a slice was taken, {back} times one was given back")
    assert (back > 0) == (taken > 0) == sliced
    assert db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM usage WHERE amount > 0"))[0][0] == k
    assert db.read(lambda tx: grants.balance(tx, "ten_acme", "CNY", time.time_ns())).available == 0
    assert db.read(lambda tx: tx.rows("SELECT (SELECT COUNT(*) FROM lease), (SELECT COUNT(*) FROM open_hold)")) == [(0, 0)]
    assert db.read(disagreements) == []


@pytest.mark.parametrize("k", [1, 7, 100])
@pytest.mark.parametrize("servers", [1, 4])
def test_on_sqlite(in_memory: Path, nursery: Nursery, servers: int, k: int) -> None:
    """One server, and four of one home, take slices of the credit and give them back until the last request is admitted."""
    place = str(in_memory / "millrace.db")
    db = open_database(place)
    judge(db, storm(nursery, db, place, in_memory, k, servers, 1), k, sliced=servers > 1 and k >= MANY)
    db.close()


@pytest.mark.parametrize("k", [1, 7, 100])
def test_on_postgresql(in_memory: Path, nursery: Nursery, crashing: postgres.Server, k: int) -> None:
    """The same for four servers in two homes."""
    place = crashing.url(crashing.new_database(crashing.migrated))
    db = open_database(place)
    judge(db, storm(nursery, db, place, in_memory, k, 4, 2), k, sliced=k >= MANY)
    db.close()


def test_what_a_dead_server_had_comes_back(in_memory: Path, nursery: Nursery, crashing: postgres.Server) -> None:
    """A machine that is gone had a slice of the credit: nobody is refused for that; he is told to wait, and then admitted."""
    place = crashing.url(crashing.new_database(crashing.migrated))
    db = open_database(place)
    told = storm(nursery, db, place, in_memory, MANY, 4, 4, dead=True)
    print(f"{told[TOLD_TO_WAIT]} times somebody was told to wait")
    judge(db, told, MANY, sliced=True)
    db.close()
