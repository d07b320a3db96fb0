"""`millrace up` with a tuned model of the bundled one: served on demand, by one process and by two; nothing stays."""

import http.client
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines.adapters import write_adapter
from tests.live.test_up import Server, run, up

from millrace import schema
from millrace.catalog.bundled import NAME
from millrace.catalog.tuned import store
from millrace.catalog.tuned.files import AdapterFiles
from millrace.catalog.tuned.values import TunedModel, tuned_name
from millrace.tenants import store as tenants

SETTINGS = f"""
[server]
workers = {{workers}}
[limits]
tuned_models_max = 1
[[models]]
name = "{NAME}"
engine = "embedded"
slots = 1
threads = 1
"""
GONE_S = 10


class Mill:
    """A server, a tenant with a key, and what it tuned."""

    def __init__(self, home: Path, server: Server) -> None:
        self.home = home
        self.server = server
        self.key = self.command("key", "create", "--tenant", "acme")["key"]

    def command(self, *words: str) -> Any:
        done = run(*words, "--json", home=self.home)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def publish(self, job: str, seed: int) -> str:
        sha256 = AdapterFiles(self.home).add(write_adapter(self.home / f"{job}.gguf", 0.2, seed))
        db = schema.connect(self.home / "millrace.db")
        tenant = db.read(lambda tx: tenants.tenant_named(tx, "acme"))
        model = TunedModel(
            name=tuned_name(NAME, "acme", job), tenant_id=tenant.id, base=NAME, job_id=job, sha256=sha256, created_at=1
        )
        db.write_now(lambda tx: store.publish(tx, model))
        db.close()
        return model.name

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(str(self.server.address.hostname), self.server.address.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body), {"Authorization": f"Bearer {self.key}"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return answer.status, found

    def chat(self, model: str) -> tuple[int, Any]:
        asked = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
        return self.call("POST", "/v1/chat/completions", asked)


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def mill(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mill]:
    home = tmp_path / "home"
    with up(home, SETTINGS.format(workers=request.param)) as server:
        for words in (("tenant", "create", "acme"), ("grant", "create", "--tenant", "acme", "--amount", "10.00")):
            assert run(*words, home=home).returncode == 0
        made = Mill(home, server)
        yield made
        if server.process.poll() is None:
            assert server.stop(signal.SIGTERM) == 0
        assert gone(children(home))


def children(home: Path) -> list[int]:
    """The llama.cpp processes that have this home's log of tuned models open."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            opened = [str((folder / "fd" / name).readlink()) for name in ("1", "2")]
        except OSError:
            continue
        if any(name == str(home / f"engine-{NAME}-tuned.log") for name in opened):
            found.append(int(folder.name))
    return found


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + GONE_S
    while any(Path(f"/proc/{pid}/stat").exists() for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(Path(f"/proc/{pid}/stat").exists() for pid in pids)


def test_it_is_served_and_billed(mill: Mill) -> None:
    """Started by its first request, at the base's price; another one takes its place; after a deletion nothing of it runs."""
    first, second = mill.publish("job_1", 1), mill.publish("job_2", 2)
    assert children(mill.home) == []
    status, answer = mill.chat(first)
    assert (status, answer.get("model")) == (200, first), answer
    before = children(mill.home)
    assert len(before) == 1
    assert mill.chat(first)[0] == 200
    assert children(mill.home) == before
    assert mill.chat(second)[0] == 200
    assert gone(before)
    after = children(mill.home)
    assert len(after) == 1
    assert mill.call("DELETE", f"/v1/models/{second}") == (200, {"id": second, "object": "model", "deleted": True})
    assert gone(after)
    assert mill.chat(NAME)[0] == 200
    usage = mill.command("usage", "--tenant", "acme", "--by", "model")
    assert {row["model"] for row in usage["rows"]} == {first, second, NAME}
    assert mill.command("audit")["ok"]


def test_a_kill_leaves_no_orphan(mill: Mill) -> None:
    """`kill -9` of the server takes the engines of tuned models along."""
    assert mill.chat(mill.publish("job_1", 1))[0] == 200
    running = children(mill.home)
    assert len(running) == 1
    mill.server.process.kill()
    mill.server.process.wait()
    assert gone(running)
