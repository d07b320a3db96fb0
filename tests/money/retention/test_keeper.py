"""Usage that is deleted: only what may be, and the sums stay as they were."""

import random
from typing import Final

import pytest
from tests.money.house import NOVEMBER_23
from tests.money.retention.conftest import Archive, quiet
from tests.money.usage_rows import DAY, QUARTER, add_usage

from millrace.money.retention import store
from millrace.money.rollups import store as rollups
from millrace.store.transaction import Conflict

JANUARY: Final = NOVEMBER_23 + 60 * DAY
DECEMBER: Final = NOVEMBER_23 + 10 * DAY


def sums(archive: Archive) -> object:
    """What each tenant's usage comes to, by each key."""
    span = (NOVEMBER_23, NOVEMBER_23 + 20 * QUARTER)
    return archive.db.read(
        lambda tx: [rollups.sums(tx, f"ten_{name}", *span, by) for name in ("acme", "bolt") for by in ("model", "day", "key")]
    )


def test_what_may_go_goes(archive: Archive) -> None:
    """Two ranges are gone and a third has the latest requests; sums and files are as before, each request has its file."""
    archive.settle()
    archive.export()
    before, amounts = sums(archive), archive.db.read(lambda tx: tx.rows("SELECT SUM(amount) FROM usage WHERE seq <= 40"))
    (request_id, tenant), = archive.db.read(lambda tx: tx.rows("SELECT request_id, tenant_id FROM usage WHERE seq = 25"))
    done = archive.keeper.run(30, JANUARY, quiet)
    assert ([one.seq_hi for one in done.exports], done.requests) == ([20, 40], 40)
    assert done.kept is not None
    assert done.kept.why == "it has the latest requests of all"
    assert (archive.count("usage"), archive.count("archived")) == (5, 40)
    assert archive.db.read(lambda tx: tx.rows("SELECT SUM(amount), SUM(requests) FROM dropped_usage")) == [(*amounts[0], 40)]
    assert sums(archive) == before
    assert archive.db.read(lambda tx: store.archived(tx, request_id)) == (tenant, "usage-000000000000021.parquet")
    assert [archive.exporter.verify(one) for one in archive.db.read(store.exports)] == [None, None, None]
    assert archive.keeper.run(30, JANUARY, quiet).exports == ()


def test_a_run_that_was_killed_is_continued(archive: Archive) -> None:
    """Killed between two steps, the next run deletes the rest of the range, and nothing is counted twice."""
    archive.settle()
    archive.export()
    total = archive.db.read(lambda tx: tx.rows("SELECT SUM(amount), COUNT(*) FROM usage WHERE seq <= 40"))

    def kill(words: str) -> None:
        if "14 of 20" in words:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.keeper.run(30, JANUARY, kill)
    assert archive.count("usage") == 31
    assert archive.keeper.run(30, JANUARY, quiet).requests == 40
    assert archive.db.read(lambda tx: tx.rows("SELECT SUM(amount), SUM(requests) FROM dropped_usage")) == total


def test_what_is_young_stays(archive: Archive) -> None:
    """Nothing goes before its days are over, nor while its month runs."""
    archive.settle()
    archive.export()
    assert archive.keeper.run(61, JANUARY, quiet).exports == ()
    assert archive.keeper.run(1, NOVEMBER_23 + 5 * DAY, quiet).exports == ()
    assert archive.count("usage") == 45
    assert archive.keeper.run(1, DECEMBER, quiet).requests == 40


def test_what_is_not_invoiced_stays(archive: Archive) -> None:
    """A request that was billed and is on no invoice keeps its range and those behind it, and is named."""
    archive.settle()
    archive.db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = NULL WHERE seq = 22"))
    archive.export()
    done = archive.keeper.run(30, JANUARY, quiet)
    assert [one.seq_hi for one in done.exports] == [20]
    assert done.kept is not None
    assert "is not invoiced yet; run the invoices up to 2026-11" in done.kept.why
    assert archive.count("usage") == 25


def test_what_cost_nothing_goes_without_an_invoice(archive: Archive) -> None:
    """A request of which nothing was billed is on no invoice, and that is no reason to keep it."""
    nothing = archive.db.read(lambda tx: tx.rows("SELECT seq FROM usage WHERE input + output = 0"))
    archive.db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = 'inv_1' WHERE input + output > 0"))
    archive.export()
    assert archive.keeper.run(30, JANUARY, quiet).requests == 40
    assert archive.db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM archived WHERE invoice_id IS NULL"))[0][0] == len(
        [seq for (seq,) in nothing if seq <= 40]
    )


def test_what_was_freed_meanwhile_stays(archive: Archive) -> None:
    """A row whose invoice is voided while its range goes is not deleted, nor any behind it."""
    archive.settle()
    archive.export()

    def void(words: str) -> None:
        if " 7 of 20" in words:
            archive.db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = NULL WHERE seq = 13 AND input + output > 0"))

    done = archive.keeper.run(30, JANUARY, void)
    assert done.exports == ()
    assert done.kept is not None
    assert "is to be invoiced again" in done.kept.why
    assert archive.count("usage") == 38


def test_what_is_not_rolled_up_stays(archive: Archive) -> None:
    """Sums must not lose what is in no roll-up yet."""
    archive.settle()
    archive.exporter.run(45, 0, quiet)
    done = archive.keeper.run(30, JANUARY, quiet)
    assert (done.exports, done.kept is not None and done.kept.why) == ((), "it is not rolled up yet")


def test_what_is_in_no_good_file_stays(archive: Archive) -> None:
    """The file is read again before its rows go."""
    archive.settle()
    archive.export()
    path = archive.folder / "usage-000000000000001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    done = archive.keeper.run(30, JANUARY, quiet)
    assert (done.exports, archive.count("usage")) == ((), 45)
    assert done.kept is not None
    assert "its hash differs" in done.kept.why


def test_nothing_else_can_delete_usage(archive: Archive) -> None:
    """The database refuses to delete a row that is not archived, and to change what is said of an export."""
    archive.settle()
    archive.export()
    for statement in ("DELETE FROM usage WHERE seq = 1", "DELETE FROM export", "UPDATE export SET requests = 1"):
        with pytest.raises(Conflict):
            archive.db.write_now(lambda tx, statement=statement: tx.run(statement))  # type: ignore[misc]


def test_new_requests_are_numbered_behind(archive: Archive) -> None:
    """After everything that may go is gone, the next row has a number that no file knows."""
    archive.settle()
    archive.export()
    archive.keeper.run(30, JANUARY, quiet)
    archive.db.write_now(lambda tx: add_usage(tx, random.Random(3), 1, first=200))
    assert archive.db.read(lambda tx: tx.rows("SELECT MAX(seq) FROM usage")) == [(46,)]
