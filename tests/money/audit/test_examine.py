"""The audit of a database in use: in pages, from a mark or from the first row."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.money.audit.life import Life

from millrace import schema
from millrace.money.audit import store
from millrace.money.audit.examine import Findings, examine, extent
from millrace.money.audit.heads import parse_heads, render_heads
from millrace.money.audit.replay import HEADS, LINKED
from millrace.money.audit.run import MARKED
from millrace.money.ledger.chain import GENESIS, Chain, Transfer
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    db = SqliteDatabase(folder / "millrace.db")
    db.migrate(schema.migrations())
    yield db
    db.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with sqlite(tmp_path) as db:
        yield Life(db)


def full(life: Life) -> Findings:
    return examine(life.db, life.now, since_mark=False)


def since(life: Life) -> Findings:
    return examine(life.db, life.now, since_mark=True)


def _last(life: Life) -> int:
    """The number of the last mark."""
    mark = life.db.read(store.last_mark)
    assert mark is not None
    return mark.number


def found(findings: Findings) -> dict[str, str]:
    return {check.name: check.detail for check in findings.checks if not check.ok}


def test_a_life_is_audited_in_parts(life: Life) -> None:
    """Each audit begins at the mark of the one before, agrees, and reads only what came since."""
    read = []
    for _ in range(4):
        life.pass_by(20)
        extent_before = extent(life.db, since_mark=True)
        findings = since(life)
        assert found(findings) == {}
        read.append((findings.since, extent_before > 40))
    begun = [since_ for since_, _ in read]
    assert begun[0] == 0
    assert begun == sorted(set(begun))
    assert all(much for _, much in read)
    assert extent(life.db, since_mark=True) == 0
    assert found(full(life)) == {}


def test_a_full_audit_goes_over_the_last_mark(life: Life) -> None:
    """It begins at the first row, agrees with the mark on its way, and leaves one of its own."""
    life.pass_by(10)
    since(life)
    life.pass_by(10)
    earlier = _last(life)
    findings = full(life)
    assert (findings.since, found(findings)) == (0, {})
    assert MARKED in {check.name for check in findings.checks}
    assert since(life).since > earlier


def test_two_audits_at_once_leave_one_mark_that_is_right(life: Life) -> None:
    """The second takes what the first had noted for unfinished; the first agrees all the same and leaves no mark."""
    life.pass_by(10)
    inner: list[Findings] = []

    def another(_: int) -> None:
        if not inner:
            inner.append(examine(life.db, life.now + 1, since_mark=False))

    outer = examine(life.db, life.now, since_mark=False, tell=another)
    assert (found(outer), found(inner[0])) == ({}, {})
    life.pass_by(5)
    assert found(since(life)) == {}
    assert found(full(life)) == {}


def test_what_changed_since_the_mark_is_found(life: Life) -> None:
    """An account that nobody touched, a new row, a budget, a chain's end: each is found without reading the old rows."""
    life.pass_by(10)
    since(life)
    earlier = _last(life)
    life.pass_by(4)
    for statement, name in (
        ("UPDATE account SET debits_posted = debits_posted + 1 WHERE id = 'cash/CNY'", "accounts are what their transfers"),
        ("UPDATE budget SET spent = spent + 1", "budgets are what their requests come to"),
        ("UPDATE usage SET output = output + 1 WHERE seq = (SELECT MAX(seq) FROM usage)", "usage was charged at its price"),
        ("UPDATE transfer SET at = at + 1 WHERE seq = (SELECT MAX(seq) FROM transfer)", "each transfer follows the one before"),
        ("DELETE FROM transfer WHERE seq = (SELECT MAX(seq) FROM transfer)", "chains end where their transfers do"),
        ("UPDATE credit_grant SET amount = amount + 1", "grants are used, expired, left or held"),
    ):
        life.tamper(statement)
        assert name in " ".join(found(since(life))), statement
    assert since(life).since == earlier  # none of them left a mark


def test_what_changed_before_the_mark_is_found_in_full(life: Life) -> None:
    """An old row is not read again since a mark; a full audit finds it."""
    life.pass_by(10)
    since(life)
    life.tamper("UPDATE transfer SET at = at + 1 WHERE seq = 3")
    assert found(since(life)) == {}
    assert "each transfer follows the one before it in its chain" in found(full(life))


def test_a_mark_that_says_something_else_is_found(life: Life) -> None:
    """A mark is only rows too: the full audit holds it against what they come to, and puts a right one in its place."""
    life.pass_by(10)
    since(life)
    life.tamper("UPDATE audit_balance SET debits_posted = debits_posted + 1 WHERE name = 'cash/CNY'")
    assert list(found(since(life))) == ["accounts are what their transfers come to"]
    assert "cash/CNY is said to be at" in found(full(life))[MARKED]
    assert found(full(life)) == {}
    assert found(since(life)) == {}


def test_a_mark_of_other_ends_is_found(life: Life) -> None:
    """Its chains and what was pending there are held against the rows too."""
    life.pass_by(10)
    since(life)
    life.tamper("UPDATE audit_mark SET waiting = '[]'")
    assert "other transfers were pending there" in found(full(life))[MARKED]
    life.tamper("UPDATE audit_mark SET chains = '[]'")
    assert "the chains end otherwise there" in found(full(life))[MARKED]


def test_an_audit_that_broke_off_leaves_nothing(life: Life) -> None:
    """Balances without a mark are swept away by the next audit."""
    life.pass_by(10)
    since(life)
    life.db.write_now(lambda tx: store.write_balances(tx, 2, [("cash/CNY", (9, 9, 9, 9, 9, 9))]))
    assert found(since(life)) == {}
    assert found(full(life)) == {}


def test_it_goes_on_while_others_write(life: Life) -> None:
    """Requests that come while the rows are read disturb nothing: three audits beside a writer agree."""
    life.pass_by(50)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            life.pass_by(5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        results = [found(full(life)) for _ in range(2)] + [found(since(life))]
    finally:
        stop.set()
        writer.join()
    assert results == [{}, {}, {}]


def test_heads_that_were_noted_are_gone_through(life: Life) -> None:
    """A chain that was made anew fits itself, and not what was noted before; nor does one that lost its tail."""
    life.pass_by(6)
    noted = parse_heads(render_heads(full(life).heads))
    life.pass_by(6)
    assert found(examine(life.db, life.now, since_mark=False, heads=noted)) == {}
    forge(life)
    assert "1 had another head when it had" in found(examine(life.db, life.now, since_mark=False, heads=noted))[HEADS]
    longer = [Chain(one.number, one.length + 1_000, one.head) for one in noted]
    assert f"had {longer[0].length} transfers when its head was noted" in found(
        examine(life.db, life.now, since_mark=False, heads=longer)
    )[HEADS]  # fmt: skip


def test_two_heads_of_one_length_cannot_both_be(life: Life) -> None:
    """Whoever noted them met two books."""
    life.pass_by(2)
    (head,) = full(life).heads
    other = Chain(head.number, head.length, bytes(32))
    assert "two heads were noted" in found(examine(life.db, life.now, since_mark=False, heads=[head, other]))[HEADS]


def forge(life: Life) -> None:
    """Change an old row and make the whole chain anew, as whoever can write the database can."""

    def work(tx: Tx) -> None:
        chain = Chain(1, 0, GENESIS)
        tx.run("UPDATE transfer SET at = at + 1 WHERE seq = 2")
        for seq, *row in tx.rows(
            "SELECT seq, id, kind, debit_account, credit_account, amount, pending_id, at FROM transfer ORDER BY seq"
        ):
            tx.run("UPDATE transfer SET hash = :hash WHERE seq = :seq", seq=seq, hash=chain.add(Transfer(*row)))
        tx.run("UPDATE chain SET head = :head", head=chain.head)

    life.tamper_by(work)
    assert LINKED not in found(full(life))
