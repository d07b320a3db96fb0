"""A pull that is killed at any moment: the next one fetches what is missing and nothing else."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.catalog.hub.running import running_hub
from tests.catalog.hub.stand import gguf_file

from millrace.catalog.hub.fake import FakeHub, Fault, Repo
from millrace.catalog.hub.partial import held_bytes
from millrace.catalog.weights.weights import Weights

KILLS: Final = 6
WAIT_S: Final = 30
VALUES: Final = 18_000_000
"""Four bytes each: 72 MB, which are three ranges."""


def start_pull(hub: FakeHub, home: Path, stderr: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "millrace.cli.main", "model", "pull", "hf:acme/model", "--home", str(home), "--json"],
        env={**os.environ, "HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}, stdout=subprocess.PIPE, stderr=stderr,
    )


def asked(hub: FakeHub) -> int:
    """The bytes of all ranges that were asked for; what a dead client's connection is still given is not among them."""
    ends = [seen.range.removeprefix("bytes=").split("-") for seen in hub.requests("network") if seen.range]
    return sum(int(last) + 1 - int(first) for first, last in ends)


def settle(hub: FakeHub) -> None:
    """Until the hub has read what the dead had sent: it answers in the order in which it is asked."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(3):
        direct.open(f"{hub.url}/api/models/acme/model", timeout=WAIT_S).close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_pull_goes_on(in_memory: Path) -> None:
    """Killed six times in the middle of three ranges, then let run: it asks the hub for exactly the bytes that are not here."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    content = gguf_file(VALUES)
    sha256 = hashlib.sha256(content).hexdigest()
    weights = Weights(in_memory / "models")
    with running_hub({"acme/model": Repo({"m.gguf": content})}) as hub:
        for kill in range(KILLS):
            before = hub.sent
            hub.faults = [Fault(at="network", hold_after=rng.randrange(1, 4_000_000) if kill else 3_000_000, times=1000)]
            pull = start_pull(hub, in_memory)
            if kill:
                until(lambda before=before: hub.sent > before)  # type: ignore[misc]  # bound now
            else:
                until(lambda: held_bytes(weights.blobs.partial, sha256, len(content)) > 0)
            time.sleep(rng.random() * 0.1)
            pull.send_signal(signal.SIGKILL)
            pull.communicate()
        held = held_bytes(weights.blobs.partial, sha256, len(content))
        assert 0 < held < len(content)
        hub.faults = []
        settle(hub)
        hub.seen.clear()
        pull = start_pull(hub, in_memory)
        printed, _ = pull.communicate(timeout=WAIT_S)
        assert pull.returncode == 0, printed
        assert asked(hub) == len(content) - held, hub.requests("network")
    manifest = weights.find("model")
    assert weights.path(manifest).read_bytes() == content
    assert list(weights.blobs.partial.iterdir()) == []


def test_two_commands_at_once(in_memory: Path) -> None:
    """Of two processes that pull the same, one fetches and both end well, also when the first is killed."""
    content = gguf_file(100_000)
    with running_hub({"acme/model": Repo({"m.gguf": content})}) as hub:
        hub.faults = [Fault(at="network", hold_after=1000)]
        first = start_pull(hub, in_memory)
        until(lambda: hub.sent > 0)
        second, third = start_pull(hub, in_memory), start_pull(hub, in_memory)
        until(lambda: len(hub.requests("list")) == 3)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert [pull.wait(WAIT_S) for pull in (second, third)] == [0, 0]
        for pull in (second, third):
            pull.communicate()
        assert asked(hub) <= 2 * len(content)  # the first one's range, and what was missing then
    weights = Weights(in_memory / "models")
    assert weights.verify("model") == ()
