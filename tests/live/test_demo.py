"""`millrace demo` as a process: it tells its story on a cloud of its own, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="the demo needs the extra 'demo'")

MILLRACE = [sys.executable, "-m", "millrace.cli.main"]
DEMO_S = 120

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


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "echo.toml"
    file.write_text(ECHO)
    return file


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder can be looked into."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return {"TMPDIR": str(folder)}


def demo(*arguments: str, temporary: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["env", *(f"{name}={value}" for name, value in temporary.items()), *MILLRACE, "demo", *arguments],
        capture_output=True, text=True, timeout=DEMO_S, check=False,
    )  # fmt: skip


def test_every_step_does_what_it_should(config: Path, temporary: dict[str, str]) -> None:
    """Exit 0; one JSON object with receipts (one of them cancelled), refusal, invoice, trial balance and audit."""
    ended = demo("--config", str(config), "--json", temporary=temporary)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert told["ok"] is True
    assert "cancelled" in {receipt["status"] for receipt in told["receipts"]}
    assert (told["refusal"]["status"], told["refusal"]["code"]) == (402, "insufficient_credit")
    assert told["invoices"][0]["lines"][0]["requests"] == len(told["receipts"])
    assert told["trial_balance"]["balanced"] is True
    assert told["audit"]["ok"] is True
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


def test_people_can_read_it(config: Path, temporary: dict[str, str]) -> None:
    """Numbered steps, in plain text when piped."""
    ended = demo("--config", str(config), temporary=temporary)
    assert ended.returncode == 0, ended.stderr
    assert [line.split(".")[0] for line in ended.stdout.splitlines() if line[:1].isdigit()] == [
        str(number) for number in range(1, 12)
    ]
    assert "\x1b" not in ended.stdout


def test_with_a_home_the_books_are_kept(config: Path, temporary: dict[str, str], tmp_path: Path) -> None:
    """--home names an empty folder, in which they can be looked at afterwards; a folder with something in it is refused."""
    home = tmp_path / "kept"
    assert demo("--config", str(config), "--home", str(home), temporary=temporary).returncode == 0
    audit = subprocess.run([*MILLRACE, "audit", "--home", str(home)], capture_output=True, timeout=DEMO_S, check=False)
    assert audit.returncode == 0
    again = demo("--config", str(config), "--home", str(home), temporary=temporary)
    assert (again.returncode, again.stdout) == (1, "")
    assert "is not empty" in again.stderr


def test_a_server_that_does_not_start_is_one_sentence(temporary: dict[str, str], tmp_path: Path) -> None:
    """The child's own sentence is passed on."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[sever]\n")
    ended = demo("--config", str(broken), "--json", temporary=temporary)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "sever is not a setting" in ended.stderr
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_early_it_stops_what_it_started(
    config: Path, temporary: dict[str, str], number: signal.Signals, code: int
) -> None:
    """Ctrl-C or a termination in the middle: the server is reaped and the folder removed."""
    process = subprocess.Popen(
        ["env", f"TMPDIR={temporary['TMPDIR']}", *MILLRACE, "demo", "--config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    folder = Path(temporary["TMPDIR"])
    until = time.monotonic() + DEMO_S
    while time.monotonic() < until and not list(folder.glob("*/server.lock")):
        time.sleep(0.01)
    owner = int(next(folder.glob("*/server.lock")).read_text() or "0")
    process.send_signal(number)
    _, told = process.communicate(timeout=DEMO_S)
    assert (process.returncode, told) == (code, "")
    assert list(folder.iterdir()) == []
    assert not owner or not Path(f"/proc/{owner}").exists()
