"""`millrace usage`, `receipt` and `balance`."""

from tests.cli.conftest import Cli

from millrace.base.clock import SystemClock
from millrace.base.times import day_of


def test_receipt_is_the_form_of_the_contract(acme: Cli) -> None:
    """Every field of the contract, and the answer's own id names the same receipt."""
    request_id = acme.serve("acme", input=1000, output=500)
    form = acme.json("receipt", request_id)
    assert form.pop("started_at") == form.pop("finished_at")
    assert form == {
        "request_id": request_id, "model": "echo", "status": "completed", "counted_by": "engine", "price": "echo/CNY/v1",
        "amount": "0.001800000", "currency": "CNY",
        "tokens": {"input": 1000, "cached_input": 0, "output": 500, "reasoning": 0, "waived": 0},
    }  # fmt: skip
    assert acme.json("receipt", request_id.replace("req_", "chatcmpl-"))["request_id"] == request_id
    assert "0.001800000 CNY" in acme.text("receipt", request_id)


def test_an_unknown_receipt_is_refused(cli: Cli) -> None:
    """The sentence shows what was asked for."""
    assert "req_unknown" in cli.refused("receipt", "req_unknown")


def test_balance_is_the_form_of_the_contract(acme: Cli) -> None:
    """What was granted less what was charged."""
    acme.serve("acme", input=1000, output=500)
    assert acme.json("balance", "--tenant", "acme") == {
        "tenant": "acme", "currency": "CNY", "balance": "99.998200000", "held": "0.000000000", "available": "99.998200000",
    }  # fmt: skip
    assert "99.998200000" in acme.text("balance", "--tenant", "acme")


def test_usage_is_summed_by_what_is_asked(acme: Cli) -> None:
    """By model when nothing is said, by day or key when it is; the span is half open and defaults to this month."""
    for _ in range(2):
        acme.serve("acme", input=1000, output=500)
    form = acme.json("usage", "--tenant", "acme")
    assert form["rows"] == [
        {
            "model": "echo", "requests": 2, "amount": "0.003600000", "currency": "CNY",
            "tokens": {"input": 2000, "cached_input": 0, "output": 1000, "reasoning": 0, "waived": 0},
        }
    ]  # fmt: skip
    assert (form["tenant"], form["from"][8:10]) == ("acme", "01")
    assert acme.json("usage", "--tenant", "acme", "--by", "day")["rows"][0]["day"] == day_of(SystemClock().now())
    assert acme.json("usage", "--tenant", "acme", "--by", "key")["rows"][0]["key"].startswith("key_")
    assert acme.json("usage", "--tenant", "acme", "--from", "2020-01-01", "--to", "2020-02-01")["rows"] == []
    assert "There was no request" in acme.text("usage", "--tenant", "acme", "--from", "2020-01-01", "--to", "2020-02-01")
    assert acme.text("usage", "--tenant", "acme").splitlines()[1].split() == (
        ["echo", "2", "2000", "0", "1000", "0", "0", "0.003600000", "CNY"]
    )


def test_spans_that_cannot_be_are_refused(acme: Cli) -> None:
    """An end before its beginning, a date that is none, a stranger; --by something else is wrong usage."""
    assert "before" in acme.refused("usage", "--tenant", "acme", "--from", "2026-02-01", "--to", "2026-01-01")
    assert "--from" in acme.refused("usage", "--tenant", "acme", "--from", "yesterday")
    assert "nobody" in acme.refused("usage", "--tenant", "nobody")
    assert "nobody" in acme.refused("balance", "--tenant", "nobody")
    assert acme.run("usage", "--tenant", "acme", "--by", "mood").exit_code == 2
