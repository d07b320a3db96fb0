"""`millrace invoice`."""

import hashlib
import json

import pytest
from tests.cli.conftest import Cli

from millrace.base.clock import SystemClock
from millrace.base.times import month_of


@pytest.fixture
def month() -> str:
    return month_of(SystemClock().now()).name


def test_run_issues_once(acme: Cli, month: str) -> None:
    """What is not invoiced yet is; running again with nothing new answers with the same invoice."""
    acme.serve("acme", input=1_000_000, output=0)
    form = acme.json("invoice", "run", "--period", month)
    (invoice,) = form["invoices"]
    assert form["period"] == month
    assert (invoice["tenant"], invoice["total"], invoice["due"]) == ("acme", "0.800000000", "0.000000000")
    assert acme.json("invoice", "run", "--period", month, "--tenant", "acme") == form
    assert acme.json("invoice", "list")["invoices"] == [invoice]
    assert invoice["number"] in acme.text("invoice", "list")


def test_run_for_one_tenant_leaves_the_others(acme: Cli, month: str) -> None:
    """--tenant issues to that one only."""
    acme.serve("acme")
    acme.text("tenant", "create", "globex")
    assert acme.json("invoice", "run", "--period", month, "--tenant", "globex")["invoices"] == []
    assert "There is no invoice." in acme.text("invoice", "list")
    assert "nobody" in acme.refused("invoice", "run", "--period", month, "--tenant", "nobody")


def test_show_prints_the_frozen_document(acme: Cli, month: str) -> None:
    """As text for people; as JSON exactly what was hashed; by id and by number."""
    acme.serve("acme", input=1_000_000, output=0)
    (invoice,) = acme.json("invoice", "run", "--period", month)["invoices"]
    assert f"INVOICE {invoice['number']}" in acme.text("invoice", "show", invoice["id"])
    frozen = acme.text("invoice", "show", invoice["number"], "--format", "json").rstrip("\n")
    form = acme.json("invoice", "show", invoice["id"])
    assert hashlib.sha256(frozen.encode()).hexdigest() == form.pop("sha256")
    assert form.pop("void") is None
    assert form == json.loads(frozen)


def test_void_takes_it_back(acme: Cli, month: str) -> None:
    """A voided invoice says so and why; its usage goes onto the next one; for another reason it is refused."""
    acme.serve("acme", input=1_000_000, output=0)
    (first,) = acme.json("invoice", "run", "--period", month)["invoices"]
    assert acme.json("invoice", "void", first["number"], "--reason", "wrong address")["void"]["reason"] == "wrong address"
    assert acme.text("invoice", "show", first["number"]).startswith("VOID: wrong address")
    assert acme.json("invoice", "void", first["number"], "--reason", "wrong address")["void"]["reason"] == "wrong address"
    assert "already" in acme.refused("invoice", "void", first["number"], "--reason", "again")
    (second,) = acme.json("invoice", "run", "--period", month)["invoices"]
    assert (second["total"], second["number"] != first["number"]) == (first["total"], True)
    assert acme.json("audit")["ok"] is True


def test_bad_values_are_refused(cli: Cli) -> None:
    """A month that is none or has not begun, an unknown invoice, a void without its reason."""
    assert "--period" in cli.refused("invoice", "run", "--period", "2026-13")
    assert "MR-1" in cli.refused("invoice", "show", "MR-1")
    assert "MR-1" in cli.refused("invoice", "void", "MR-1", "--reason", "x")
    assert cli.run("invoice", "void", "MR-1").exit_code == 2
    cli.text("tenant", "create", "acme")
    assert "nothing to invoice yet" in cli.refused("invoice", "run", "--period", "2200-01")
