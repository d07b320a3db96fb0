"""`millrace grant`."""

from tests.cli.conftest import Cli


def test_create_prints_the_form_of_the_contract(cli: Cli) -> None:
    """id, tenant, amount, currency, funding and expires_at, and nothing else."""
    cli.text("tenant", "create", "acme")
    form = cli.json("grant", "create", "--tenant", "acme", "--amount", "100", "--expires", "2200-12-31")
    assert form.pop("id").startswith("grant_")
    assert form == {
        "tenant": "acme", "amount": "100.000000000", "currency": "CNY", "funding": "customer",
        "expires_at": "2200-12-31T00:00:00.000000Z",
    }  # fmt: skip
    assert cli.json("balance", "--tenant", "acme")["balance"] == "100.000000000"


def test_the_same_key_gives_once(cli: Cli) -> None:
    """A repeated command with one idempotency key answers with the first grant; with other content it is refused."""
    cli.text("tenant", "create", "acme")
    give = ("grant", "create", "--tenant", "acme", "--idempotency-key", "payment-1", "--amount")
    assert cli.json(*give, "5.00") == cli.json(*give, "5.00")
    assert "payment-1" in cli.refused(*give, "6.00")
    assert cli.json("balance", "--tenant", "acme")["balance"] == "5.000000000"


def test_list_shows_what_is_left(acme: Cli) -> None:
    """Each grant with its amount and what was not spent of it yet."""
    acme.serve("acme", input=1_000_000, output=0)
    (grant,) = acme.json("grant", "list", "--tenant", "acme")["grants"]
    assert (grant["amount"], grant["left"]) == ("100.000000000", "99.200000000")
    assert "99.200000000" in acme.text("grant", "list", "--tenant", "acme")


def test_who_pays_is_booked(cli: Cli) -> None:
    """The funding decides which account stands against the grant."""
    cli.text("tenant", "create", "acme")
    for funding in ("customer", "operator", "sponsor"):
        cli.text("grant", "create", "--tenant", "acme", "--amount", "1", "--funding", funding)
    debits = {one["id"]: one["debits_posted"] for one in cli.json("trial-balance")["accounts"]}
    assert [debits[name] for name in ("cash/CNY", "promotion/CNY", "sponsor/CNY")] == ["1.000000000"] * 3


def test_bad_values_are_refused(cli: Cli) -> None:
    """Nothing, less than nothing, a float's exponent, a past or a meaningless date, a stranger: each by its name."""
    cli.text("tenant", "create", "acme")
    for amount in ("0", "-1", "1e2", "1.0000000001", "ten"):
        assert "amount" in cli.refused("grant", "create", "--tenant", "acme", f"--amount={amount}")
    assert "passed" in cli.refused("grant", "create", "--tenant", "acme", "--amount", "1", "--expires", "2020-01-01")
    assert "--expires" in cli.refused("grant", "create", "--tenant", "acme", "--amount", "1", "--expires", "soon")
    assert "nobody" in cli.refused("grant", "create", "--tenant", "nobody", "--amount", "1")
    assert cli.run("grant", "create", "--tenant", "acme").exit_code == 2
    assert cli.json("grant", "list", "--tenant", "acme") == {"tenant": "acme", "grants": []}
