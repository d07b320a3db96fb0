"""`millrace trial-balance` and `millrace audit`."""

import json

from tests.cli.conftest import Cli


def test_trial_balance_adds_up(acme: Cli) -> None:
    """Every account, and per currency as many debits as credits."""
    acme.serve("acme", input=1_000_000, output=0)
    form = acme.json("trial-balance")
    assert form["balanced"] is True
    (total,) = form["totals"]
    assert (total["debits_posted"], total["credits_posted"]) == ("100.800000000", "100.800000000")
    assert {account["id"] for account in form["accounts"]} >= {"cash/CNY", "revenue/CNY/echo"}
    printed = acme.text("trial-balance")
    assert "TOTAL" in printed
    assert printed.endswith("Debits equal credits in every currency.\n")


def test_books_without_an_account_balance(cli: Cli) -> None:
    """Nothing equals nothing."""
    assert cli.json("trial-balance") == {"balanced": True, "accounts": [], "totals": []}
    assert cli.text("trial-balance").startswith("The ledger has no account yet.")


def test_audit_is_the_form_of_the_contract(acme: Cli) -> None:
    """ok and a list of checks, each with name, ok, checked and detail."""
    acme.serve("acme")
    form = acme.json("audit")
    assert set(form) == {"ok", "checks", "rows", "heads"}
    assert form["ok"] is True
    assert form["checks"]
    assert all(set(check) == {"name", "ok", "checked", "detail"} for check in form["checks"])
    assert "FAILED" not in acme.text("audit")


def test_audit_goes_on_from_a_mark(acme: Cli) -> None:
    """The second one reads what came since the first, and a full one everything again."""
    acme.serve("acme")
    rows = acme.json("audit")["rows"]
    assert rows > 0
    assert acme.json("audit", "--since-mark")["rows"] == 0
    acme.serve("acme")
    assert 0 < acme.json("audit", "--since-mark")["rows"] < acme.json("audit")["rows"]


def test_audit_holds_the_books_against_heads_that_were_noted(acme: Cli) -> None:
    """Its own output is what it takes; a head of other books ends it with exit code 1."""
    acme.serve("acme")
    noted = acme.home / "noted.json"
    noted.write_text(acme.text("audit", "--json"))
    acme.serve("acme")
    assert "chains go through the heads that were noted" in acme.text("audit", "--heads", str(noted))
    noted.write_text("heads=1:2:" + "ab" * 32)
    result = acme.run("audit", "--heads", str(noted))
    assert (result.exit_code, "chain 1 had another head when it had 2 transfers" in result.stderr) == (1, True)


def test_audit_refuses_what_are_no_heads(acme: Cli) -> None:
    """A file without any, one that is not there, and heads with --since-mark, which does not read the old rows."""
    empty = acme.home / "empty"
    empty.write_text("nothing")
    assert "is no head such as" in acme.refused("audit", "--heads", str(empty))
    assert "cannot be read" in acme.refused("audit", "--heads", str(acme.home / "gone"))
    assert "leave --since-mark out" in acme.refused("audit", "--heads", str(empty), "--since-mark")


def test_audit_names_the_first_disagreement(acme: Cli) -> None:
    """Books that somebody changed end the audit with exit code 1 and the invariant's name; the form is printed all the same."""
    acme.serve("acme")
    database = acme.database()
    database.write_now(lambda tx: tx.run("UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'cash/CNY'"))
    database.close()
    result = acme.run("audit", "--json")
    form = json.loads(result.stdout)
    first = next(check for check in form["checks"] if not check["ok"])
    assert (result.exit_code, form["ok"]) == (1, False)
    assert result.stderr == f"millrace: the books do not agree: {first['name']}: {first['detail']}\n"
    assert "FAILED" in acme.run("audit").stdout
    assert "NOT BALANCED: CNY" in acme.text("trial-balance")
