"""`millrace reconcile`."""

from tests.cli.conftest import Cli


def test_reconcile_shows_every_source(acme: Cli) -> None:
    """Tokens and money of the day, with what differs; no engine counted what no server served."""
    acme.serve("acme", input=1_000_000, output=0)
    form = acme.json("reconcile")
    (tokens,), (money,) = form["tokens"], form["money"]
    assert tokens["usage"] == {"requests": 1, "input": 1_000_000, "output": 0}
    assert (tokens["engine"], tokens["difference"]) == (None, None)
    assert tokens["invoices"] == {"requests": 0, "input": 0, "output": 0}
    assert (money["usage"], money["ledger"], money["difference"]) == ("0.800000000", "0.800000000", "0.000000000")
    assert set(money) == {"day", "model", "currency", "usage", "ledger", "invoices", "rounding", "difference"}
    printed = acme.text("reconcile", "--from", tokens["day"])
    assert "DIFFERENCE" in printed
    assert "0.800000000" in printed


def test_reconcile_takes_whole_days(acme: Cli) -> None:
    """A day of UTC is the smallest thing that is compared."""
    assert "is not a day such as" in acme.refused("reconcile", "--from", "2026-11-23T08:00:00Z")
    assert "lies before" in acme.refused("reconcile", "--from", "2026-11-23", "--to", "2026-11-23")
    assert "There was no request from 2026-11-01 to 2026-11-02." in acme.text(
        "reconcile", "--from", "2026-11-01", "--to", "2026-11-03"
    )
