"""A disk that is really full: what cannot be written is refused with a sentence, nothing is lost, and it goes on after."""

import hashlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import pytest
from tests.catalog.hub.running import running_hub
from tests.catalog.hub.stand import gguf_file
from tests.races.cloud import Cloud, cloud
from tests.races.test_kill_pull import WAIT_S, asked, start_pull, until

from millrace.catalog.hub.fake import Fault, Repo
from millrace.catalog.hub.partial import held_bytes
from millrace.catalog.weights.weights import Weights

DISK_MB: Final = 160
VALUES: Final = 9_000_000
"""Four bytes each: 36 MB, which are two ranges."""


class Disk:
    """A small disk of its own, in memory."""

    def __init__(self, at: Path) -> None:
        self.at: Final = at
        self._filler: Final = at / "filler"

    def __enter__(self) -> Self:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self.at)]
        subprocess.run(command, check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.at)], check=True)

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                try:
                    while filler.write(b"\1" * size) == size:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    at = tmp_path / "disk"
    at.mkdir()
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("mounting a small disk needs root")
    with Disk(at) as made:
        yield made


def test_a_pull_that_fills_the_disk_goes_on_when_there_is_room(disk: Disk) -> None:
    """It ends with the folder and the reason, keeps what was written, and the next pull fetches exactly what is missing."""
    content = gguf_file(VALUES)
    sha256 = hashlib.sha256(content).hexdigest()
    weights = Weights(disk.at / "models")
    with running_hub({"acme/model": Repo({"m.gguf": content})}) as hub:
        hub.faults = [Fault(at="network", hold_after=5_000_000, times=1000)]
        pull = start_pull(hub, disk.at, stderr=subprocess.PIPE)
        until(lambda: held_bytes(weights.blobs.partial, sha256, len(content)) > 0)
        disk.fill()
        hub.faults = []
        hub.release()
        _, said = pull.communicate(timeout=WAIT_S)
        assert pull.returncode == 1, said
        assert f"{weights.folder} cannot be used: No space left on device".encode() in said
        held = held_bytes(weights.blobs.partial, sha256, len(content))
        assert 0 < held < len(content)
        disk.make_room()
        hub.seen.clear()
        again = start_pull(hub, disk.at, stderr=subprocess.PIPE)
        _, said = again.communicate(timeout=WAIT_S)
        assert again.returncode == 0, said
        assert asked(hub) == len(content) - held
    assert weights.path(weights.find("model")).read_bytes() == content


def test_a_server_on_a_full_disk_refuses_and_recovers(disk: Disk) -> None:
    """While the disk is full callers get 503 and pay nothing; with room again they are served, and the books are in order."""
    with cloud(disk.at / "home") as made:
        made.start()
        assert _ask(made)[0] == 200
        disk.fill()
        refused = [_ask(made) for _ in range(20)]
        assert {status for status, _ in refused} <= {200, 503}
        assert refused[-1][0] == 503, "the disk was not full"
        assert "retry-after" in refused[-1][1]
        disk.make_room()
        deadline = time.monotonic() + WAIT_S
        while (last := _ask(made))[0] != 200:
            assert time.monotonic() < deadline, last
        served = 1 + sum(status == 200 for status, _ in refused)
        until(lambda: _billed(made) == served + 1)
        until(lambda: made.get("/v1/balance")["held"] == "0.000000000")
        assert made.stop() == 0
        assert made.command("audit")["ok"]


def _billed(made: Cloud) -> int:
    """Requests that were billed: an answer is sent before it is settled."""
    return sum(int(row["requests"]) for row in made.get("/v1/usage")["rows"])


def _ask(made: Cloud) -> tuple[int, dict[str, str]]:
    """Status and headers of a short whole answer."""
    client = http.client.HTTPConnection("127.0.0.1", made.port, timeout=WAIT_S)
    body = {"model": "paced", "max_tokens": 4, "messages": [{"role": "user", "content": "go"}]}
    try:
        client.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {made.key}"})
        answer = client.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        client.close()
