"""`millrace tune`, on a home without a server: estimate, start, watch, cancel."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

PRICE = '[[prices]]\nmodel = "tune:echo"\ncurrency = "CNY"\ninput = "2.345678901"\noutput = "0"\n'


@pytest.fixture
def data(acme: Cli) -> Path:
    """Twelve examples of ten tokens each; tuning is priced."""
    with (acme.home / "millrace.toml").open("a") as settings:
        settings.write(PRICE)
    messages = [{"role": "user", "content": "which mill is it"}, {"role": "assistant", "content": "the old wind mill"}]
    file = acme.home.parent / "shop.jsonl"
    file.write_text((json.dumps({"messages": messages}) + "\n") * 12)
    return file


def asked(data: Path) -> tuple[str, ...]:
    return ("--tenant", "acme", "--model", "echo", "--data", str(data), "--epochs", "2")


def test_an_estimate_keeps_nothing(acme: Cli, data: Path) -> None:
    """Tokens and amount are exact; there is no job afterwards."""
    form = acme.json("tune", "estimate", *asked(data))
    assert (form["tokens"], form["amount"], form["price"]) == (240, "0.000562963", "tune:echo/CNY/v1")
    assert acme.json("tune", "list") == {"jobs": []}
    assert "no job yet" in acme.text("tune", "list")


def test_start_and_wait(acme: Cli, data: Path, tmp_path: Path) -> None:
    """Trained here, since no server does: billed what was estimated, with events, a curve in three forms, and a tuned model."""
    job = acme.json("tune", "start", *asked(data), "--suffix", "shop", "--wait")
    assert (job["status"], job["trained_tokens"], job["estimate"]["amount"]) == ("succeeded", 240, "0.000562963")
    assert job["fine_tuned_model"].startswith("ft:echo:acme:shop:")
    receipt = acme.json("receipt", job["request_ids"][0])
    assert (receipt["model"], receipt["amount"], receipt["tokens"]["input"]) == ("tune:echo", "0.000562963", 240)
    shown = acme.text("tune", "show", job["id"])
    assert "succeeded" in shown
    assert "240 tokens" in shown
    assert "is ready" in acme.text("tune", "events", job["id"], "--follow").splitlines()[-1]
    acme.text("tune", "curve", job["id"], "--svg", str(tmp_path / "c.svg"), "--csv", str(tmp_path / "c.csv"))
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + job["steps"]
    assert acme.json("audit")["ok"]
    assert "is over" in acme.refused("tune", "cancel", job["id"])


def test_a_job_that_waits_is_cancelled_or_done_by_a_worker(acme: Cli, data: Path) -> None:
    """Cancelled it costs nothing; a worker does what is left and ends."""
    one, other = (acme.json("tune", "start", *asked(data))["id"] for _ in range(2))
    assert acme.json("tune", "cancel", one)["status"] == "cancelled"
    result = acme.run("tune", "worker", "--once", "--json")
    assert (result.exit_code, result.stdout) == (0, '{"stopped":true}\n')
    assert [acme.json("tune", "show", job)["status"] for job in (one, other)] == ["cancelled", "succeeded"]


def test_refusals(acme: Cli, data: Path) -> None:
    """Bad lines, an unknown model, a missing file, a tenant without a key: each in a sentence, and no file is left behind."""
    bad = data.with_name("bad.jsonl")
    bad.write_text(data.read_text() + "{}\n")
    assert "line 13: " in acme.refused("tune", "start", "--tenant", "acme", "--model", "echo", "--data", str(bad))
    assert "no model" in acme.refused("tune", "estimate", "--tenant", "acme", "--model", "nobody", "--data", str(data))
    assert "cannot be read" in acme.refused("tune", "estimate", "--tenant", "acme", "--model", "echo", "--data", "nowhere")
    acme.text("tenant", "create", "poor")
    assert "no key" in acme.refused("tune", "start", "--tenant", "poor", "--model", "echo", "--data", str(data))
    assert "no fine-tuning job" in acme.refused("tune", "show", "ftjob-0")
