"""The daily audit: once a day for all servers, seen in metrics and log."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.money.house import on_disk

from millrace import wiring
from millrace.base.clock import NS_PER_S, FakeClock
from millrace.gateway.metrics import Metrics
from millrace.gateway.nightly import Nightly, Place, Report
from millrace.money.audit import store
from millrace.store.database import Database

MIDNIGHT = 1_795_392_000 * NS_PER_S
THREE = 3 * 3600

WELL = Report(rows=7, since=0, checks=40, failed=(), heads="1:2:ab")
BADLY = Report(rows=7, since=1, checks=40, failed=("no account is overdrawn: account a is",), heads="")


class Server:
    """One of those that share a database; `runs` are the times at which it audited."""

    def __init__(self, db: Database, clock: FakeClock, report: Report = WELL) -> None:
        self.runs: list[int] = []
        self.metrics = Metrics()
        self.report = report
        self.dies = False
        self._clock = clock
        self._nightly = Nightly(db, clock, self.metrics, THREE, self._run)

    def turn(self) -> None:
        asyncio.run(self._nightly.turn())

    async def _run(self) -> Report:
        self.runs.append((self._clock.now() - MIDNIGHT) // (3600 * NS_PER_S))
        if self.dies:
            raise RuntimeError("killed")
        self._clock.advance(2.0)
        return self.report


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = on_disk(tmp_path)
    yield db
    db.close()


def test_it_runs_once_a_day_in_one_server(db: Database) -> None:
    """At the time of day, by whoever comes first; and at once where the day's time had passed before anybody was there."""
    clock = FakeClock(MIDNIGHT)
    one, other = Server(db, clock), Server(db, clock)
    for _ in range(3 * 24):
        other.turn()
        one.turn()
        clock.advance(3600)
    assert (one.runs, other.runs) == ([], [0, 3, 27, 51])


def test_an_audit_that_cannot_be_made_is_tried_again(db: Database) -> None:
    """Some minutes later, by whoever comes first."""
    clock = FakeClock(MIDNIGHT)
    one, other = Server(db, clock), Server(db, clock)
    one.dies = True
    with pytest.raises(RuntimeError):
        one.turn()
    for _ in range(11):
        other.turn()
        clock.advance(60)
    assert other.runs == []
    other.turn()
    assert other.runs == [0]


def test_a_day_that_was_not_brought_to_its_end_is_taken_up(db: Database) -> None:
    """A server that was killed over its audit has it done by another, some hours later."""
    clock = FakeClock(MIDNIGHT)
    other = Server(db, clock)
    db.write_now(lambda tx: store.claim_day(tx, "2026-11-22", clock.now()))
    for _ in range(2):
        other.turn()
        clock.advance(3600)
    assert other.runs == []
    for _ in range(24):
        other.turn()
        clock.advance(3600)
    assert other.runs == [3]


def test_what_it_found_is_measured_and_logged(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Metrics of the last run; one line with the heads of the chains, and an error for each disagreement."""
    clock = FakeClock(MIDNIGHT)
    server = Server(db, clock)
    assert "millrace_audit" not in server.metrics.render().decode()
    with caplog.at_level(logging.INFO):
        server.turn()
        server.report = BADLY
        clock.advance(24 * 3600)
        server.turn()
    assert [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "millrace.audit"] == [
        ("INFO", "audit ok=1 rows=7 since_mark=0 checks=40 failed=0 seconds=2.0 heads=1:2:ab"),
        ("ERROR", "the books do not agree: no account is overdrawn: account a is"),
        ("INFO", "audit ok=0 rows=7 since_mark=1 checks=40 failed=1 seconds=2.0 heads="),
    ]
    metrics = server.metrics.render().decode()
    for line in ("ok 0.0", "disagreements 1.0", "rows 7.0", "duration_seconds 2.0"):
        assert f"\nmillrace_audit_{line}\n" in metrics
    assert clock.now() == 1_795_478_404 * NS_PER_S
    assert "\nmillrace_audit_last_run_timestamp_seconds 1.795478404e+09\n" in metrics


def test_the_process_audits_and_answers(tmp_path: Path) -> None:
    """The real one, on books without any request; and one that finds no books says how it ended."""
    on_disk(tmp_path).close()
    report = asyncio.run(wiring.audit_apart(Place.of(tmp_path / "millrace.db")))
    assert (report.failed, report.heads, report.checks > 30) == ((), "", True)
    with pytest.raises(RuntimeError, match="did not come to its end: its process ended with code 1"):
        asyncio.run(wiring.audit_apart(Place(url="postgresql://nobody@127.0.0.1:1/none")))
