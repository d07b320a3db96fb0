"""`millrace eval` against a real server with fake engines: what it says, what it costs, how it goes on."""

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import PRICES, SETTINGS, Cli
from tests.races.cloud import MILLRACE, Cloud

SUITE = Path(__file__).parents[2] / "docs" / "guides" / "evaluation.jsonl"

PASSED = 8
"""Of the ten cases of the guide's suite on the fake engine."""

SMALL = (SETTINGS + PRICES).replace('"echo"', '"small"').replace("8192", "40").replace("4096", "20")
"""A model whose context is too short for the cases with tools."""


class Home(Cli):
    """A home with a server; `pays` is the tenant's key."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud.home)
        self.url = cloud.url
        self.pays = cloud.key
        self._tenants = 0

    def tenant(self) -> str:
        """One of its own for a test, with credit."""
        self._tenants += 1
        name = f"acme-{self._tenants}"
        self.text("tenant", "create", name)
        self.text("grant", "create", "--tenant", name, "--amount", "100.00")
        return name

    def requests(self, tenant: str) -> int:
        return sum(row["requests"] for row in self.json("usage", "--tenant", tenant)["rows"])

    def eval(self, *arguments: str) -> dict[str, Any]:
        return self.json("eval", "echo", "--suite", str(SUITE), "--url", self.url, *arguments)


@pytest.fixture(scope="module")
def home(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One server for all tests of this file."""
    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("eval") / "home"))
    with (folder / "millrace.toml").open("a") as settings:
        settings.write(SMALL)
    cloud = Cloud(folder)
    cloud.start()
    try:
        yield Home(cloud)
    finally:
        cloud.kill()


def groups(form: dict[str, Any], place: int = 0) -> dict[str, dict[str, Any]]:
    return {group["group"]: group for group in form["models"][place]["groups"]}


def test_what_a_run_says_is_what_it_cost(home: Home) -> None:
    """The amount is the tenant's usage to the nano-unit, and so are the tokens; its key is limited, and ended."""
    tenant = home.tenant()
    form = home.eval("--tenant", tenant)
    everything = groups(form)["all"]
    (used,) = home.json("usage", "--tenant", tenant)["rows"]
    assert (everything["cases"], everything["passed"], form["ok"]) == (10, PASSED, True)
    assert (used["requests"], used["amount"]) == (10, everything["amount"])
    assert (used["tokens"]["input"], used["tokens"]["output"]) == (everything["input_tokens"], everything["output_tokens"])
    (key,) = home.json("key", "list", "--tenant", tenant)["keys"]
    assert (key["project"], key["models"]) == ("evaluation", ["echo"])
    assert key["revoked_at"] is not None
    assert home.json("audit")["ok"]


def test_groups_add_up(home: Home) -> None:
    """Each kind and each tag has its row; kinds are every case once."""
    found = groups(home.eval("--tenant", home.tenant()))
    kinds = [group for name, group in found.items() if name.startswith("kind ")]
    assert sum(group["cases"] for group in kinds) == found["all"]["cases"]
    assert found["tag tools"]["cases"] == 4
    assert 0 < found["all"]["low"] < found["all"]["share"] < found["all"]["high"] < 1


def test_people_get_tables_and_five_failures(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment pays where no tenant is named; what was expected and said of what failed is shown."""
    monkeypatch.setenv("MILLRACE_API_KEY", home.pays)
    told = home.text("eval", "echo", "--suite", str(SUITE), "--url", f"{home.url}/v1", "--repeat", "3", "--seed", "1")
    assert "GROUP" in told
    assert "95 % INTERVAL" in told
    assert "not passed: exactly (echo)\n  expected '2' or 'two'\n  said: " in told
    assert told.count("not passed: ") == 5
    assert "… and 1 more; --verbose shows them all" in told
    assert home.pays not in told


def test_two_models_are_compared_on_the_same_cases(home: Home) -> None:
    """What a model cannot take fails and costs nothing; the sentence says whether the difference is more than chance."""
    tenant = home.tenant()
    form = home.eval("--versus", "small", "--tenant", tenant)
    compared = {group["group"]: group for group in form["comparison"]["groups"]}
    assert (compared["all"]["better"], compared["all"]["worse"] > 0) == (0, True)
    assert compared["all"]["low"] < compared["all"]["difference"] < 0
    assert "small does better than echo on 0 of 10 cases" in form["comparison"]["verdict"]
    refused = [failure for failure in form["failures"] if failure["request_id"] is None]
    assert refused
    assert all(failure["why"].startswith("refused: the prompt has ") for failure in refused), refused
    total = sum(float(groups(form, place)["all"]["amount"]) for place in (0, 1))
    assert sum(float(row["amount"]) for row in home.json("usage", "--tenant", tenant)["rows"]) == pytest.approx(total)
    assert "small against echo" in home.text(
        "eval", "echo", "--suite", str(SUITE), "--url", home.url, "--versus", "small", "--tenant", tenant
    )


def test_a_run_goes_on_where_it_stopped(home: Home, tmp_path: Path) -> None:
    """Results that are written are not asked for again; answers that were billed and lost are fetched again, unbilled."""
    tenant, out = home.tenant(), tmp_path / "results.jsonl"
    wanted = ("--tenant", tenant, "--out", str(out))
    assert groups(home.eval(*wanted, "--limit", "4"))["all"]["cases"] == 4
    assert home.requests(tenant) == 4
    whole = home.eval(*wanted)
    assert home.requests(tenant) == 10
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:-3]) + lines[-3][:20])
    again = home.eval(*wanted)
    assert home.requests(tenant) == 10
    assert groups(again)["all"]["amount"] == groups(whole)["all"]["amount"]
    assert len(out.read_bytes().splitlines()) == 11
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_file_of_something_else_is_not_touched(home: Home, tmp_path: Path) -> None:
    """Another suite, another model, and a file that is no results are refused with what differs."""
    tenant, out = home.tenant(), tmp_path / "results.jsonl"
    wanted = ("--tenant", tenant, "--url", home.url, "--out", str(out))
    home.eval("--tenant", tenant, "--out", str(out), "--limit", "1")
    other = tmp_path / "other.jsonl"
    other.write_bytes(SUITE.read_bytes() + b"\n")
    before = out.read_bytes()
    assert "another suite" in home.refused("eval", "echo", "--suite", str(other), *wanted)
    assert "another model (echo, not small)" in home.refused("eval", "small", "--suite", str(SUITE), *wanted)
    assert "another seed (None, not 3)" in home.refused("eval", "echo", "--suite", str(SUITE), "--seed", "3", *wanted)
    assert out.read_bytes() == before
    out.write_text("my letters\n")
    assert "no results of an evaluation" in home.refused("eval", "echo", "--suite", str(SUITE), *wanted)
    assert out.read_text() == "my letters\n"


def test_too_few_passes_are_exit_code_1(home: Home) -> None:
    """The report is printed all the same, and the sentence says by how much."""
    wanted = ("eval", "echo", "--suite", str(SUITE), "--url", home.url, "--tenant", home.tenant(), "--json", "--fail-under")
    result = home.run(*wanted, "0.9")
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (1, False)
    assert result.stderr == "millrace: echo passes 80.0% of evaluation.jsonl, less than the 90.0% that --fail-under asks for\n"
    assert home.run(*wanted, "0.8").exit_code == 0


def test_a_run_that_is_refused_leaves_no_key(home: Home, tmp_path: Path) -> None:
    """Credit that is used up ends the run with the server's sentence and where it may go on; the key is ended."""
    home.text("tenant", "create", "poor")
    out = tmp_path / "results.jsonl"
    said = home.refused(
        "eval", "echo", "--suite", str(SUITE), "--url", home.url, "--tenant", "poor", "--out", str(out)
    )
    assert said.startswith("the run was stopped: ")
    assert f"0 results are in {out}" in said
    assert [key["revoked_at"] is None for key in home.json("key", "list", "--tenant", "poor")["keys"]] == [False]


def test_what_cannot_be_run_is_refused_before_anything_is_asked(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, an unknown model or tenant, the model against itself, a suite with a mistake, nobody at the address."""
    monkeypatch.delenv("MILLRACE_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    suite = ("--suite", str(SUITE), "--url", home.url)
    assert "MILLRACE_API_KEY" in home.refused("eval", "echo", *suite)
    assert "there is no tenant 'nobody'" in home.refused("eval", "echo", *suite, "--tenant", "nobody")
    assert "'gone' is not on offer" in home.refused("eval", "gone", *suite, "--tenant", "demo")
    assert "against itself" in home.refused("eval", "echo", *suite, "--versus", "echo")
    (tmp_path / "bad.jsonl").write_text('{"id": "a"}\n')
    assert "bad.jsonl, line 1: messages: is required" in home.refused("eval", "echo", "--suite", str(tmp_path / "bad.jsonl"))
    assert "cannot be read" in home.refused("eval", "echo", "--suite", str(tmp_path / "none.jsonl"))
    away = home.refused("eval", "echo", "--suite", str(SUITE), "--url", "http://127.0.0.1:9", "--tenant", "demo")
    assert f"no server answers at http://127.0.0.1:9; start one with 'millrace up --home {home.home}'" in away


def test_the_home_s_own_address_is_found(cli: Cli) -> None:
    """Without --url it is that of the settings; a port that is left to the system cannot be known."""
    settings = cli.home / "millrace.toml"
    before = settings.read_text()
    settings.write_text(f'[server]\nhost = "127.0.0.1"\nport = 9\n{before}')
    assert "http://127.0.0.1:9;" in cli.refused("eval", "echo", "--suite", str(SUITE))
    settings.write_text(f"[server]\nport = 0\n{before}")
    assert "--url" in cli.refused("eval", "echo", "--suite", str(SUITE))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_leaves_no_key(acme: Cli, number: signal.Signals, code: int) -> None:
    """A signal while the server lets one wait: the key that the run had made is revoked before it ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [*MILLRACE, "eval", "echo", "--suite", str(SUITE), "--tenant", "acme", "--url", url, "--home", str(acme.home)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with silent.accept()[0], silent.accept()[0] as asked:  # the first only looks whether anybody is there
            asked.recv(1)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert b"Traceback" not in said
    assert [key["revoked_at"] is not None for key in acme.json("key", "list", "--tenant", "acme")["keys"]] == [False, True]
