"""`millrace up` as a process: how it starts, what it refuses, how it ends; and commands beside it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

MILLRACE = [sys.executable, "-m", "millrace.cli.main"]

START_S = 30
STOP_S = 30

ECHO = """
[[models]]
name = "echo"
engine = "fake"
context_tokens = 8192
max_output_tokens = 4096
[[prices]]
model = "echo"
currency = "CNY"
input = "0.8"
output = "2.0"
"""


class Server:
    """A running one; `said` is what it announced."""

    def __init__(self, process: "subprocess.Popen[str]", said: dict[str, Any]) -> None:
        self.process = process
        self.said = said
        self.address = urlsplit(said["page"])

    def get(self, path: str, key: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection(str(self.address.hostname), self.address.port, timeout=10)
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, json.loads(body)

    def stop(self, *signals: signal.Signals) -> int:
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)


@contextmanager
def up(home: Path, config: str = ECHO) -> Iterator[Server]:
    """Start on a free port, and leave nothing running whatever the test does."""
    home.mkdir(exist_ok=True)
    (home / "millrace.toml").write_text(config)
    with (home / "log").open("a") as log:
        process = subprocess.Popen(
            [*MILLRACE, "up", "--home", str(home), "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (home / "log").read_text()
        yield Server(process, json.loads(line))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """A command to its end."""
    return subprocess.run(
        [*MILLRACE, *arguments, "--home", str(home)], capture_output=True, text=True, timeout=START_S, check=False
    )


def refused(*arguments: str, home: Path) -> str:
    """The one sentence of a start that is refused."""
    ended = run("up", *arguments, home=home)
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """Port 0 takes a free one, the announcement says where it is; SIGTERM ends it with 0 and the port is free again."""
    with up(tmp_path / "home") as server:
        assert set(server.said) == {"base_url", "page", "key", "tenant", "models"}
        assert server.said["models"] == [{"name": "echo", "state": "ready"}]
        assert server.said["base_url"] == f"{server.said['page']}v1"
        assert server.get("/healthz") == (200, {"status": "ok"})
        assert server.get("/readyz")[0] == 200
        assert server.get("/v1/balance", server.said["key"])[1]["balance"] == "10.000000000"
        assert server.stop(signal.SIGTERM) == 0
        with pytest.raises(ConnectionRefusedError):
            server.get("/healthz")
    assert server.said["key"] not in (tmp_path / "home" / "log").read_text()


def test_impatience_changes_nothing(tmp_path: Path) -> None:
    """Ctrl-C several times in a row is still an orderly end."""
    with up(tmp_path / "home") as server:
        assert server.stop(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT) == 0


def test_the_key_is_shown_once(tmp_path: Path) -> None:
    """A later start has none to show; the first one goes on to work, on the same books."""
    with up(tmp_path / "home") as first:
        key = first.said["key"]
        first.stop(signal.SIGTERM)
    with up(tmp_path / "home") as second:
        assert (second.said["key"], second.said["tenant"]) == (None, "demo")
        assert second.get("/v1/balance", key)[0] == 200


def test_one_server_a_home(tmp_path: Path) -> None:
    """A second start names the process that has the home, and does not disturb it."""
    home = tmp_path / "home"
    with up(home) as server:
        sentence = refused("--port", "0", home=home)
        assert str(server.process.pid) in sentence
        assert str(home) in sentence
        assert server.get("/healthz")[0] == 200


def test_a_used_port_is_refused(tmp_path: Path) -> None:
    """With the port and the remedy in the sentence, and the home that was to be made is not left behind."""
    config = tmp_path / "echo.toml"
    config.write_text(ECHO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sentence = refused("--config", str(config), "--port", port, home=tmp_path / "home")
    assert port in sentence
    assert "--port" in sentence
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[server\n", "is not TOML"),
        ("[server]\nprot = 1\n", "did you mean 'port'"),
        ('[store]\nurl = "postgresql://user@host/db"\n', "PostgreSQL"),
        ('[[models]]\nname = "m"\nengine = "embedded"\npath = "gone.gguf"\ncontext_tokens = 1024\n', "no price"),
        (ECHO.replace('"fake"', '"embedded"\npath = "gone.gguf"'), "gone.gguf"),
    ],
)
def test_a_broken_config_is_refused(tmp_path: Path, config: str, said: str) -> None:
    """One sentence that names the file and what is wrong in it, and no home is made."""
    file = tmp_path / "broken.toml"
    file.write_text(config)
    assert said in refused("--config", str(file), home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder below a file can be made by nobody."""
    (tmp_path / "file").write_text("")
    config = tmp_path / "echo.toml"
    config.write_text(ECHO)
    assert "cannot be used" in refused("--config", str(config), "--port", "0", home=tmp_path / "file" / "home")


def test_a_read_only_home_is_refused(tmp_path: Path) -> None:
    """A folder without write permission, too; where root may write everywhere, one that the kernel keeps from him."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    config = tmp_path / "echo.toml"
    config.write_text(ECHO)
    closed = Path("/sys/kernel/millrace") if os.geteuid() == 0 else home
    assert "cannot be used" in refused("--config", str(config), "--port", "0", home=closed)


def test_commands_work_beside_the_server(tmp_path: Path) -> None:
    """What a command writes the server sees within a second: a new key opens, a revoked one does not."""
    home = tmp_path / "home"
    with up(home) as server:
        made = json.loads(run("key", "create", "--tenant", "demo", "--json", home=home).stdout)
        assert server.get("/v1/balance", made["key"])[0] == 200
        granted = run("grant", "create", "--tenant", "demo", "--amount", "5.00", home=home)
        assert granted.returncode == 0
        assert server.get("/v1/balance", made["key"])[1]["balance"] == "15.000000000"
        revoked = run("key", "revoke", made["id"], home=home)
        assert revoked.returncode == 0
        time.sleep(1)
        assert server.get("/v1/balance", made["key"])[0] == 401
        audit = run("audit", "--json", home=home)
        assert (audit.returncode, json.loads(audit.stdout)["ok"]) == (0, True)


def test_for_people_there_is_a_line_to_paste(tmp_path: Path) -> None:
    """Without --json: the addresses, the key, the models, one curl line, and how to stop."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "millrace.toml").write_text(ECHO)
    process = subprocess.Popen(
        [*MILLRACE, "up", "--home", str(home), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_S) == 0
    process.stdout.close()
    (curl,) = (line for line in lines if line.startswith("curl "))
    assert "Authorization: Bearer mr_" in curl
    assert "\x1b" not in "".join(lines)


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    """`millrace tenant list | head -0` ends quietly; what was asked was done."""
    home = tmp_path / "home"
    run("tenant", "create", "acme", home=home)
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*MILLRACE, "tenant", "list", "--home", str(home)], stdout=writing, stderr=subprocess.PIPE, timeout=START_S, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")
