"""Supervisors and trainers really killed, at any moment: the job comes to its end, and is billed once or not at all."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests import postgres
from tests.races.cloud import MILLRACE, alive

SETTINGS: Final = """
[[models]]
name = "echo"
engine = "fake"
context_tokens = 8192
max_output_tokens = 4096
[[prices]]
model = "echo"
currency = "CNY"
input = "1"
output = "1"
[[prices]]
model = "tune:echo"
currency = "CNY"
input = "2.345678901"
output = "0"
"""
EXAMPLES: Final = 40
EPOCHS: Final = 8
TOKENS: Final = EXAMPLES * EPOCHS * 10
AMOUNT: Final = "0.007506172"
STEP_S: Final = "0.05"
KILLS: Final = 5
OF_TRAINERS: Final = 2
"""Fewer than make a job fail: a trainer that ends three times before a checkpoint is not tried again."""
PATIENCE_S: Final = 120


class Shop:
    """A home with a tenant who has credit and a file, and the workers of it."""

    def __init__(self, home: Path, url: str | None) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        store = "" if url is None else f'[store]\nurl = "{url}"\n'
        (home / "millrace.toml").write_text(store + SETTINGS)
        self.data = home.parent / "shop.jsonl"
        lines = [
            [{"role": "user", "content": f"where is parcel {n}"}, {"role": "assistant", "content": f"it is at {n}"}]
            for n in range(EXAMPLES)
        ]
        self.data.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
        self.command("tenant", "create", "acme")
        self.command("grant", "create", "--tenant", "acme", "--amount", "1.00")
        self.command("key", "create", "--tenant", "acme")
        self.trainers: set[int] = set()

    def command(self, *arguments: str) -> Any:
        run = subprocess.run(
            [*MILLRACE, *arguments, "--json", "--home", str(self.home)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, f"{arguments}: {run.stderr}\n{run.stdout}"
        return json.loads(run.stdout)

    def start(self) -> str:
        """A job; its id."""
        job = self.command(
            "tune", "start", "--tenant", "acme", "--model", "echo", "--data", str(self.data), "--epochs", str(EPOCHS)
        )
        assert job["estimate"]["tokens"] == TOKENS
        assert job["estimate"]["amount"] == AMOUNT
        return str(job["id"])

    @contextlib.contextmanager
    def worker(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.home / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [*MILLRACE, "tune", "worker", *arguments, "--home", str(self.home)], stdout=log, stderr=log,
                env={**os.environ, "MILLRACE_FAKE_STEP_S": STEP_S},
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def trainer_of(self, worker: "subprocess.Popen[bytes]") -> int | None:
        """The worker's child, while it has one."""
        with contextlib.suppress(OSError):
            children = [int(pid) for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]
            self.trainers.update(children)
            return children[0] if children else None
        return None

    def kill(self, chance: random.Random, *, trainer_too: bool) -> None:
        """Start a worker, wait until it trains, and a little longer; then kill it, or its trainer and it a moment later."""
        with self.worker() as worker:
            until = time.monotonic() + PATIENCE_S
            while self.trainer_of(worker) is None:
                assert worker.poll() is None, (self.home / "worker.log").read_text()[-2000:]
                assert time.monotonic() < until, "nobody trains"
                time.sleep(0.02)
            time.sleep(chance.random() * 2)
            trainer = self.trainer_of(worker)
            if trainer is not None and trainer_too:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(trainer, signal.SIGKILL)
                time.sleep(chance.random() / 2)
            worker.send_signal(signal.SIGKILL)

    def finish(self) -> None:
        """Let a worker do what is left."""
        with self.worker("--once") as worker:
            assert worker.wait(PATIENCE_S) == 0, (self.home / "worker.log").read_text()[-2000:]

    def orphans(self) -> list[int]:
        """Trainers that outlived their worker, after a moment in which the kernel tells them."""
        for _ in range(100):
            left = [pid for pid in self.trainers if alive(pid)]
            if not left:
                break
            time.sleep(0.05)
        return left


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "sqlite":
        yield Shop(tmp_path / "home", None)
        return
    server = postgres.shared()
    name = server.new_database(server.migrated)
    yield Shop(tmp_path / "home", server.url(name))
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")


def billed(shop: Shop) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = shop.command("usage", "--tenant", "acme", "--by", "model")["rows"]
    return [row for row in rows if row["amount"] != "0.000000000"]


def check(shop: Shop, amount: str | None) -> None:
    """The books agree, nothing is held, and this was billed, by one row."""
    rows = billed(shop)
    assert [row["amount"] for row in rows] == ([] if amount is None else [amount])
    balance = shop.command("balance", "--tenant", "acme")
    assert balance["held"] == "0.000000000"
    shop.command("audit")
    assert shop.orphans() == []


def test_a_job_that_is_killed_again_and_again(shop: Shop) -> None:
    """It comes to its end all the same, is billed once, to the nano-unit, and its model is there once."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    job_id = shop.start()
    for number in range(KILLS):
        if shop.command("tune", "show", job_id)["status"] == "succeeded":
            break
        shop.kill(chance, trainer_too=number < OF_TRAINERS)
    shop.finish()
    job = shop.command("tune", "show", job_id)
    assert (job["status"], job["trained_tokens"]) == ("succeeded", TOKENS), job
    receipts = [shop.command("receipt", request_id) for request_id in job["request_ids"]]
    assert sorted(receipt["tokens"]["input"] for receipt in receipts) == [*[0] * (len(receipts) - 1), TOKENS]
    check(shop, AMOUNT)


def test_a_killed_job_that_is_cancelled_costs_nothing(shop: Shop) -> None:
    """Its worker is gone, its hold is given back by the next one, and there is no bill."""
    job_id = shop.start()
    shop.kill(random.Random(1), trainer_too=False)
    shop.command("tune", "cancel", job_id)
    shop.finish()
    assert shop.command("tune", "show", job_id)["status"] == "cancelled"
    check(shop, None)


def test_a_server_that_is_killed_takes_its_supervisor_along(tmp_path: Path) -> None:
    """`millrace up` starts a supervisor for a job that waits; killed, neither it nor its trainer is left; the next goes on."""
    shop = Shop(tmp_path / "home", None)
    job_id = shop.start()
    for last in (False, True):
        with (shop.home / "server.log").open("ab") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "millrace.cli.main", "up", "--port", "0", "--home", str(shop.home)], stdout=log,
                stderr=log, env={**os.environ, "MILLRACE_FAKE_STEP_S": STEP_S},
            )  # fmt: skip
        try:
            until = time.monotonic() + PATIENCE_S
            while shop.command("tune", "show", job_id)["status"] != ("succeeded" if last else "running"):
                assert time.monotonic() < until, (shop.home / "server.log").read_text()[-2000:]
                time.sleep(0.1)
            supervisors = [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]
            shop.trainers.update(supervisors)
        finally:
            server.send_signal(signal.SIGTERM if last else signal.SIGKILL)
            server.wait(PATIENCE_S)
        assert shop.orphans() == []
    check(shop, AMOUNT)
