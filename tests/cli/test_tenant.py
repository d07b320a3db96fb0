"""`millrace tenant`."""

from tests.cli.conftest import Cli


def test_create_says_what_was_made(cli: Cli) -> None:
    """A new tenant is prepaid in CNY unless told otherwise, and its form has every field."""
    form = cli.json("tenant", "create", "acme")
    assert form.pop("id").startswith("ten_")
    assert form.pop("created_at").endswith("Z")
    assert form == {
        "name": "acme", "mode": "prepaid", "currency": "CNY", "credit_limit": "0.000000000", "suspended": False,
    }  # fmt: skip


def test_postpaid_can_spend_up_to_its_limit(cli: Cli) -> None:
    """The account of what a postpaid tenant owes is opened with the tenant, so its limit is available at once."""
    cli.text("tenant", "create", "acme", "--mode", "postpaid", "--credit-limit", "100.00")
    assert cli.json("balance", "--tenant", "acme")["available"] == "100.000000000"
    accounts = [account["id"] for account in cli.json("trial-balance")["accounts"]]
    assert any(account.startswith("receivable/ten_") for account in accounts)


def test_a_limit_that_cannot_be_makes_no_tenant(cli: Cli) -> None:
    """Tenant and account are one transaction: when the account is refused there is no tenant either."""
    assert "credit" in cli.refused("tenant", "create", "acme", "--mode", "postpaid", "--credit-limit", "9000000000")
    assert cli.json("tenant", "list") == {"tenants": []}


def test_prepaid_has_no_limit(cli: Cli) -> None:
    """A credit limit without --mode postpaid is refused, not ignored."""
    assert "only a postpaid tenant has one" in cli.refused("tenant", "create", "acme", "--credit-limit", "5")


def test_a_name_is_taken_once(cli: Cli) -> None:
    """A second tenant of one name is refused with the remedy."""
    cli.text("tenant", "create", "acme")
    assert "choose another name" in cli.refused("tenant", "create", "acme")


def test_bad_values_are_refused(cli: Cli) -> None:
    """A name, a currency or an amount that cannot be is a refusal with its sentence; a mode that is none, wrong usage."""
    assert "acme!" in cli.refused("tenant", "create", "acme!")
    assert "XYZ" in cli.refused("tenant", "create", "acme", "--currency", "XYZ")
    assert "1e3" in cli.refused("tenant", "create", "acme", "--mode", "postpaid", "--credit-limit", "1e3")
    assert cli.run("tenant", "create", "acme", "--mode", "free").exit_code == 2


def test_list_is_by_name(cli: Cli) -> None:
    """All tenants, by name, with their state; without any, a sentence that says how to make one."""
    assert "millrace tenant create NAME" in cli.text("tenant", "list")
    for name in ("globex", "acme"):
        cli.text("tenant", "create", name)
    assert [one["name"] for one in cli.json("tenant", "list")["tenants"]] == ["acme", "globex"]
    first, *rows = cli.text("tenant", "list").splitlines()
    assert first.split()[:3] == ["NAME", "MODE", "CURRENCY"]
    assert [row.split()[0] for row in rows] == ["acme", "globex"]


def test_show_has_everything_of_one_tenant(acme: Cli) -> None:
    """Balance, projects, number of keys and suspensions stand beside the tenant itself."""
    form = acme.json("tenant", "show", "acme")
    assert form["balance"]["available"] == "100.000000000"
    assert [project["name"] for project in form["projects"]] == ["default"]
    assert form["keys"] == {"live": 1, "all": 1}
    assert form["suspensions"] == []
    assert "available     100.000000000" in acme.text("tenant", "show", "acme")


def test_suspend_and_resume(acme: Cli) -> None:
    """A suspension has a reason and a history; resuming where there is none is refused."""
    assert acme.json("tenant", "suspend", "acme", "--reason", "overdue")["reason"] == "overdue"
    assert acme.json("tenant", "show", "acme")["suspended"] is True
    assert acme.json("tenant", "resume", "acme")["lifted_at"] is not None
    form = acme.json("tenant", "show", "acme")
    assert form["suspended"] is False
    assert [one["reason"] for one in form["suspensions"]] == ["overdue"]
    assert "overdue" in acme.text("tenant", "show", "acme")
    assert "not suspended" in acme.refused("tenant", "resume", "acme")


def test_a_stranger_is_not_found(cli: Cli) -> None:
    """Every verb on an unknown tenant is refused by its name."""
    for verb in ("show", "suspend", "resume"):
        assert "there is no tenant 'nobody'" in cli.refused("tenant", verb, "nobody")
