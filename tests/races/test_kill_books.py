"""Real processes, really killed: what their clients read from them is compared with what the books say afterwards."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.money.house import disagreements, on_disk
from tests.races.books_victim import CHUNK, INPUT_TOKENS, WIDE_BUDGET

from millrace.base.clock import SystemClock
from millrace.base.money import NANO
from millrace.money.billing.books import Books
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.metering import store as metering
from millrace.money.metering.usage import Status, Usage
from millrace.store.database import Database
from millrace.store.transaction import Tx

KILLS: Final = 24
ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = on_disk(tmp_path)
    opened.write_now(_fund)
    yield opened
    opened.close()


def _fund(tx: Tx) -> None:
    """Enough for all that is killed here, in many grants, so that holds have several legs. Budgets are wide."""
    for number in range(400):
        tenant = "ten_acme" if number % 2 else "ten_bolt"
        grant = grants.new_grant(
            id=f"gr_{number:03d}", tenant_id=tenant, amount=(100_000 if number >= 398 else 1) * NANO, currency="CNY",
            funding=Funding.CUSTOMER if number >= 398 else Funding.OPERATOR, now=time.time_ns(),
        )  # fmt: skip
        grants.give(tx, grant)
    tx.run("UPDATE api_key SET budget = :wide WHERE budget IS NOT NULL", wide=WIDE_BUDGET)


def test_kill_at_random_and_the_books_are_right(db: Database) -> None:
    """For every request: billed ≤ delivered ≤ billed + waived. No request is billed twice, and the auditor is silent.
    """
    rng = random.Random(time.time_ns())
    delivered: dict[str, int] = {}
    for _ in range(KILLS):
        for request_id, output in _serve_and_kill(db.path.parent, rng.uniform(0.01, 0.4)):
            delivered[request_id] = max(output, delivered.get(request_id, 0))
    asyncio.run(_recover(db))
    usage = db.read(lambda tx: {row.request_id: row for row in _all_usage(tx)})
    for request_id, output in delivered.items():
        row = usage.get(request_id)
        assert row is not None, f"{request_id} got {output} tokens and was never billed"
    for request_id, row in usage.items():
        got = INPUT_TOKENS + delivered[request_id] if request_id in delivered else 0
        billed = row.tokens.input + row.tokens.output
        assert billed <= got, f"over-billed: got {got}, {row}"
        assert got <= billed + row.waived, f"lost: got {got}, {row}"
    assert db.read(disagreements) == []
    recovered = [row for row in usage.values() if row.status is Status.FAILED]
    waived = sum(row.waived for row in recovered)
    print(f"{KILLS} kills, {len(usage)} requests, {len(recovered)} recovered, {waived} tokens waived")
    assert len(recovered) >= KILLS, "the kills hit nobody: the test proves nothing"


def _serve_and_kill(folder: Path, seconds: float) -> list[tuple[str, int]]:
    """Start a victim, let it serve for so long, kill it, and return all that its clients had read."""
    command = [sys.executable, "-m", "tests.races.books_victim", str(folder)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        read = victim.stdout.read1(CHUNK.size)  # type: ignore[attr-defined]
        assert read, "the victim served nobody"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            read += victim.stdout.read1(65_536)  # type: ignore[attr-defined]
        victim.send_signal(signal.SIGKILL)
        read += victim.stdout.read()
    assert len(read) % CHUNK.size == 0
    return [(request.decode().rstrip("\0"), output) for request, output in CHUNK.iter_unpack(read)]


async def _recover(db: Database) -> None:
    books = Books(db, db.path.parent / "journal", SystemClock())
    await books.open()
    await books.close()


def _all_usage(tx: Tx) -> list[Usage]:
    return [row for tenant in ("ten_acme", "ten_bolt") for row in metering.in_span(tx, tenant, 0, 2**63 - 1)]
