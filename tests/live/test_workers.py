"""`millrace up --workers 2`: one address, two processes behind it, and what happens when any of them is killed."""

import asyncio
import http.client
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.postgres import shared
from tests.races.cloud import MILLRACE, Cloud, Stream, Upstream, cloud

SAMPLE = re.compile(r'^(\w+)\{worker="(\d+)"[^}]*\} (\S+)$', re.MULTILINE)


@contextmanager
def two_workers(home: Path, settings: str = "") -> Iterator[Cloud]:
    """In front of an upstream that takes 10 ms a token."""
    with cloud(home, "--tokens", "60", "--token-delay-ms", "10") as made:
        with (home / "millrace.toml").open("a") as file:
            file.write(settings)
        made.start("--workers", "2")
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Cloud]:
    """On SQLite."""
    with two_workers(tmp_path / "home") as made:
        yield made


def test_both_workers_answer_and_one_scrape_shows_both(server: Cloud) -> None:
    """Streams at once are spread over both; /metrics, whoever answers it, has each worker's, and they add up."""
    streams = run_streams(server, 40)
    assert all(stream.finished and stream.tokens == 60 for stream in streams)
    served = by_worker(server, "millrace_requests_total")
    assert set(served) == {"0", "1"}
    assert sum(served.values()) == 40
    assert min(served.values()) >= 4
    assert by_worker(server, "millrace_worker_up") == {"0": 1, "1": 1}
    assert server.get("/readyz")["models"] == {"paced": "ready"}
    assert server.command("audit")["ok"]


def test_a_killed_worker_comes_back_and_its_requests_are_settled_once(server: Cloud) -> None:
    """`kill -9` of one worker under load: the streams of the other end whole, nobody is billed for more than he got, each
    token that left is billed or waived, nothing stays held, and a new worker serves."""
    kill_a_worker_under_load(server)


def test_on_postgresql_too(tmp_path: Path) -> None:
    """The same on a database that workers write side by side."""
    url = shared().url(shared().new_database())
    with two_workers(tmp_path / "home", f'[store]\nurl = "{url}"\n') as server:
        kill_a_worker_under_load(server)


def kill_a_worker_under_load(server: Cloud) -> None:
    streams = [Stream(server, 60) for _ in range(40)]
    running = in_thread(streams)
    wait_until(lambda: sum(stream.tokens for stream in streams) > 400)
    killed, kept = workers_of(server)
    os.kill(killed, signal.SIGKILL)
    running.join(20)
    wait_until(lambda: len(workers_of(server)) == 2 and killed not in workers_of(server))
    assert kept in workers_of(server)
    cut = [stream for stream in streams if not stream.finished]
    assert 0 < len(cut) < 40
    wait_until(lambda: server.command("balance", "--tenant", "demo")["held"] == "0.000000000")
    for stream in streams:
        tokens = server.get(f"/v1/receipts/{stream.request_id}")["tokens"]
        assert tokens["output"] <= stream.tokens <= tokens["output"] + tokens["waived"], (stream.request_id, tokens)
        assert stream.tokens == tokens["output"] or not stream.finished
    wait_until(lambda: by_worker(server, "millrace_worker_up") == {"0": 1, "1": 1})
    assert sum(by_worker(server, "millrace_worker_restarts_total").values()) == 1
    assert all(stream.finished for stream in run_streams(server, 10))
    assert server.command("audit")["ok"]
    assert server.stop() == 0


def test_a_killed_parent_leaves_no_process(server: Cloud) -> None:
    """`kill -9` of the parent: its workers end the running streams, settle them, and are gone; the home can be served again."""
    streams = [Stream(server, 4000) for _ in range(4)]
    running = in_thread(streams)
    wait_until(lambda: all(stream.tokens for stream in streams))
    orphans = workers_of(server)
    server.kill()
    wait_until(lambda: not any(alive(pid) for pid in orphans))
    running.join(20)
    assert server.command("balance", "--tenant", "demo")["held"] == "0.000000000"
    for stream in streams:
        assert server.command("receipt", stream.request_id)["tokens"]["output"] == stream.tokens
    server.start("--workers", "2")
    assert server.stop() == 0


def test_a_stop_drains_every_worker(server: Cloud) -> None:
    """SIGTERM: running streams of both workers end whole, the exit code is 0, and no process is left."""
    streams = [Stream(server, 60) for _ in range(20)]
    running = in_thread(streams)
    wait_until(lambda: all(stream.tokens for stream in streams))
    pids = workers_of(server)
    assert server.stop() == 0
    running.join(20)
    assert [(stream.finished, stream.tokens) for stream in streams] == [(True, 60)] * 20
    assert not any(alive(pid) for pid in pids)


def test_impatience_changes_nothing(server: Cloud) -> None:
    """Ctrl-C several times in a row ends the running streams, settled, and is still an orderly end."""
    streams = [Stream(server, 4000) for _ in range(4)]
    running = in_thread(streams)
    wait_until(lambda: all(stream.tokens for stream in streams))
    assert server.process is not None
    for _ in range(3):
        server.process.send_signal(signal.SIGINT)
    assert server.stop() == 0
    running.join(20)
    for stream in streams:
        assert server.command("receipt", stream.request_id)["tokens"]["output"] == stream.tokens


def test_a_paused_worker_holds_up_neither_the_other_nor_the_stop(server: Cloud) -> None:
    """SIGSTOP of one worker: the other takes every new connection, and a scrape is made without the one that is silent."""
    paused, _ = workers_of(server)
    os.kill(paused, signal.SIGSTOP)
    try:
        assert all(stream.finished for stream in run_streams(server, 10))
        assert len(by_worker(server, "millrace_requests_total")) == 1
    finally:
        os.kill(paused, signal.SIGCONT)
    assert server.stop() == 0


def test_workers_share_one_llama_and_follow_it_when_it_is_replaced(tmp_path: Path) -> None:
    """There is one child of llama.cpp; killed, it is replaced once, and both workers use the new one."""
    server = Cloud(tmp_path / "home")
    server.start("--workers", "2")
    assert server.process is not None
    try:
        (child,) = children(server.process.pid, "embedded.child")
        assert all(status == 200 for status in [chat(server) for _ in range(6)])
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: children(server.process.pid, "embedded.child") not in ([], [child]))  # type: ignore[union-attr]
        wait_until(lambda: by_worker(server, "millrace_engine_ready") == {"0": 1, "1": 1})
        assert all(status == 200 for status in [chat(server) for _ in range(6)])
        assert len(children(server.process.pid, "embedded.child")) == 1
        pids = [*workers_of(server), *children(server.process.pid, "embedded.child")]
        server.kill()
        wait_until(lambda: not any(alive(pid) for pid in pids))
    finally:
        if server.process is not None:
            server.kill()


def test_what_a_worker_refuses_stops_the_start(tmp_path: Path) -> None:
    """What only a worker finds out ends `millrace up` with the worker's sentence and exit code 1, and leaves no process."""
    with Upstream() as upstream:
        server = Cloud(tmp_path / "home", upstream)
        file = server.home / "millrace.toml"
        file.write_text(file.read_text().replace("upstream =", 'api_key_env = "MILLRACE_NOT_SET"\nupstream ='))
        ended = subprocess.run(
            [*MILLRACE, "up", "--port", "0", "--workers", "2", "--home", str(server.home)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "MILLRACE_NOT_SET" in ended.stderr.splitlines()[-1]


def run_streams(server: Cloud, count: int) -> list[Stream]:
    streams = [Stream(server, 60) for _ in range(count)]
    in_thread(streams).join(30)
    return streams


def in_thread(streams: list[Stream]) -> threading.Thread:
    """Their clients, all at once."""

    async def clients() -> None:
        await asyncio.gather(*(stream.run(None) for stream in streams))

    running = threading.Thread(target=lambda: asyncio.run(clients()))
    running.start()
    return running


def by_worker(server: Cloud, metric: str) -> dict[str, float]:
    """The sum of a metric's samples of each worker."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, float] = {}
    for name, worker, value in SAMPLE.findall(text):
        if name == metric:
            found[worker] = found.get(worker, 0) + float(value)
    return found


def chat(server: Cloud) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = '{"model": "millrace-tiny", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}'
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {server.key}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def workers_of(server: Cloud) -> list[int]:
    assert server.process is not None
    return children(server.process.pid, "cli.worker")


def children(parent: int, module: str) -> list[int]:
    """Living children of a process that run a module."""
    found = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            if module in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(int(pid))
        except OSError:
            continue
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie (one that we do not own is reaped by init)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
