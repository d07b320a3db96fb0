"""`millrace doctor`: each look with its verdict and remedy, on machines and clouds that are well and that are not."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from tests.catalog.gguf import SOUND
from tests.cli.conftest import PRICES, SETTINGS, Cli

from millrace.base.clock import NS_PER_S, SystemClock
from millrace.catalog.model import Model
from millrace.cli.doctor_cloud import clock, database, home, model, port
from millrace.cli.doctor_findings import (
    GIB,
    Finding,
    Verdict,
    judge_clock,
    judge_disk,
    judge_extras,
    judge_file_system,
    judge_fsync,
    judge_memory,
    judge_open_files,
    judge_python,
    judge_sqlite,
    judge_threads,
)
from millrace.cli.doctor_machine import extras, file_system, memory_available
from millrace.settings.parse import Server
from millrace.store.sqlite_database import SqliteDatabase

FREE: Final = "[server]\nport = 0\n"
REMOTE: Final = Model(
    name="far", engine="remote", context_tokens=100, max_output_tokens=50, slots=1, upstream="Qwen/Qwen3-8B",
    api_key_env="FAR_KEY",
)  # fmt: skip


def looks(cli: Cli) -> dict[str, Any]:
    """By name; the exit code is in it as `exit`."""
    result = cli.run("doctor", "--json")
    form = json.loads(result.stdout)
    assert form["ok"] == (result.exit_code == 0)
    return {one["name"]: one for one in form["checks"]} | {"exit": result.exit_code, "stderr": result.stderr}


@contextmanager
def upstream(status: int, body: bytes) -> Iterator[tuple[str, list[str | None]]]:
    """A server that answers every GET so; and the Authorization headers that it was sent."""
    keys: list[str | None] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers.get("authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


def verdict(finding: Finding) -> Verdict:
    """Checked on the way: what is not good says what to do."""
    assert (finding.remedy is None) == (finding.verdict is Verdict.OK)
    return finding.verdict


def test_a_cloud_that_is_well(cli: Cli) -> None:
    """Nothing fails, exit 0, and the look at each part is there; the same for people as a table."""
    (cli.home / "millrace.toml").write_text(FREE + SETTINGS + PRICES)
    found = looks(cli)
    assert found["exit"] == 0
    machine = {"python", "sqlite", "extras", "gpu", "disk", "fsync", "locks", "clock", "open files"}
    assert machine | {"home", "settings", "database", "port", "model echo"} <= set(found)
    assert found["database"]["detail"].startswith("schema version")
    assert "VERDICT" in cli.text("doctor")


def test_what_fails_is_named_and_is_exit_1(cli: Cli) -> None:
    """A setting that does not hold: its sentence and a remedy, and no look at what it would have declared."""
    (cli.home / "millrace.toml").write_text("[sever]\n")
    found = looks(cli)
    assert (found["exit"], found["settings"]["verdict"]) == (1, "fail")
    assert "sever is not a setting" in found["settings"]["detail"]
    assert found["stderr"] == "millrace: not fit to serve: settings\n"
    assert "port" not in found


def test_it_makes_nothing(tmp_path: Path) -> None:
    """Neither the home nor a database."""
    cli = Cli(tmp_path / "home")
    looks(cli)
    assert not cli.home.exists()


def test_a_home_that_cannot_be_one(tmp_path: Path) -> None:
    """A file in its place fails; one that others can read is a warning."""
    (tmp_path / "file").write_text("")
    assert [verdict(one) for one in home(tmp_path / "file")] == [Verdict.FAIL]
    tmp_path.chmod(0o755)
    assert verdict(next(iter(home(tmp_path)))) is Verdict.WARN


def test_the_database(tmp_path: Path, template: Path) -> None:
    """None yet, one of this program, an empty one, one that is no database: none is made or migrated by the look."""
    path = tmp_path / "millrace.db"
    assert verdict(database(path)) is Verdict.OK
    assert not path.exists()
    assert verdict(database(template / "millrace.db")) is Verdict.OK
    SqliteDatabase(path).close()
    assert "empty" in database(path).detail
    assert "empty" in database(path).detail
    path.write_bytes(b"no database at all" * 100)
    assert verdict(database(path)) is Verdict.FAIL


def test_the_port() -> None:
    """Free, served by a Millrace, or taken by something that is none."""
    assert verdict(port(Server(port=0))) is Verdict.OK
    with upstream(200, b'{"status":"ok"}') as (url, _):
        number = int(url.rpartition(":")[2])
        assert "a Millrace answers" in port(Server(port=number)).detail
    assert "is free" in port(Server(port=number)).detail
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        taken = port(Server(port=silent.getsockname()[1]), timeout_s=0.1)
    assert verdict(taken) is Verdict.FAIL


def remote(url: str, environment: dict[str, str]) -> Finding:
    declared = Model(**{name: getattr(REMOTE, name) for name in REMOTE.__struct_fields__} | {"url": url})
    (finding,) = model(declared, environment, "a.toml")
    verdict(finding)
    return finding


@pytest.mark.parametrize(
    ("status", "body", "expected", "said"),
    [
        (200, b'{"data": [{"id": "Qwen/Qwen3-8B"}]}', Verdict.OK, "serves Qwen/Qwen3-8B"),
        (200, b'{"data": [{"id": "other"}]}', Verdict.WARN, "does not list"),
        (200, b"<html>", Verdict.WARN, "no known form"),
        (401, b"", Verdict.FAIL, "refuses the key"),
        (404, b"", Verdict.FAIL, "answers 404"),
    ],
)
def test_a_remote_model(status: int, body: bytes, expected: Verdict, said: str) -> None:
    """What its server answers to the list of models, asked with the key from the environment, which is never shown."""
    with upstream(status, body) as (url, keys):
        finding = remote(url, {"FAR_KEY": "sk-hidden"})
    assert (finding.verdict, keys) == (expected, ["Bearer sk-hidden"])
    assert said in finding.detail
    assert "sk-hidden" not in f"{finding.detail}{finding.remedy}"


def test_a_remote_model_that_is_not_there() -> None:
    """Nobody listens, or the variable with its key is not set: both fail."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert "cannot be reached" in remote(url, {"FAR_KEY": "k"}).detail
    assert "FAR_KEY is not set" in remote(url, {}).detail


def test_an_embedded_model(tmp_path: Path) -> None:
    """Its file is there and what it needs of memory and processor is said; a file that is not there fails."""
    path = tmp_path / "model.gguf"
    one = Model(name="near", engine="embedded", context_tokens=10, max_output_tokens=5, slots=1, path=path, threads=10_000)
    (missing,) = model(one, {}, "a.toml")
    assert verdict(missing) is Verdict.FAIL
    path.write_bytes(SOUND)
    found = {finding.name: verdict(finding) for finding in model(one, {}, "a.toml")}
    assert found["model near"] is Verdict.OK
    assert found["processor for near"] is Verdict.WARN
    assert ("memory for near" in found) == (memory_available() is not None)


def test_the_clock(tmp_path: Path) -> None:
    """A database that was written in the future is a warning, a clock before 2026 fails."""
    path = tmp_path / "millrace.db"
    path.write_bytes(b"")
    now = SystemClock().now()
    assert verdict(clock(now, path)) is Verdict.OK
    os.utime(path, ns=(now, now + 3600 * NS_PER_S))
    assert verdict(clock(now, path)) is Verdict.WARN
    assert verdict(judge_clock(0, None)) is Verdict.FAIL


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (judge_python((3, 11, 0)), Verdict.OK),
        (judge_python((3, 10, 9)), Verdict.FAIL),
        (judge_sqlite((3, 51, 3), (3, 51, 3)), Verdict.OK),
        (judge_sqlite((3, 51, 2), (3, 51, 3)), Verdict.FAIL),
        (judge_disk(2 * GIB), Verdict.OK),
        (judge_disk(GIB // 2), Verdict.WARN),
        (judge_disk(1000), Verdict.FAIL),
        (judge_fsync(0.004), Verdict.OK),
        (judge_fsync(0.2), Verdict.WARN),
        (judge_file_system("ext4"), Verdict.OK),
        (judge_file_system("nfs4"), Verdict.WARN),
        (judge_open_files(None, 8448, 4096), Verdict.OK),
        (judge_open_files(1024, 8448, 4096), Verdict.WARN),
        (judge_memory("m", 10 * GIB, 12 * GIB), Verdict.OK),
        (judge_memory("m", 10 * GIB, 12 * GIB - 1), Verdict.WARN),
        (judge_threads("m", 2, 2), Verdict.OK),
        (judge_threads("m", 3, 2), Verdict.WARN),
        (judge_extras({"telemetry": ["opentelemetry-sdk"]}, ["demo"]), Verdict.OK),
    ],
)
def test_the_judgments(finding: Finding, expected: Verdict) -> None:
    """Each measure on either side of its line; what is not good has a remedy."""
    assert verdict(finding) is expected


def test_extras_are_those_of_the_installation() -> None:
    """Each extra is whole or has something missing, never both."""
    missing, installed = extras()
    assert not set(missing) & set(installed)
    assert "demo" in {*missing, *installed}


def test_the_file_system_of_a_path(tmp_path: Path) -> None:
    """The kernel's word for it, the innermost mount's; a folder below it has the same."""
    below = tmp_path / "a"
    below.mkdir()
    assert file_system(below) == file_system(tmp_path)
