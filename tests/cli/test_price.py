"""`millrace price`."""

from tests.cli.conftest import PRICES, Cli

from millrace.base.clock import SystemClock
from millrace.base.times import month_of


def test_list_has_every_version(cli: Cli) -> None:
    """Prices per 1,000,000 tokens as decimal strings, by tier."""
    (price,) = cli.json("price", "list")["prices"]
    assert price.pop("effective_from").endswith("Z")
    assert price == {
        "id": "echo/CNY/v1", "model": "echo", "currency": "CNY", "version": 1, "batch_multiplier": "1.000000",
        "tiers": [
            {"up_to_input_tokens": None, "input": "0.800000000", "cached_input": "0.160000000", "output": "2.000000000"}
        ],
    }  # fmt: skip
    assert "echo/CNY/v1" in cli.text("price", "list")


def test_import_makes_versions_once(cli: Cli) -> None:
    """What is new gets a version, what stands there already gets none, and both are said."""
    file = cli.home / "new.toml"
    file.write_text(PRICES.replace("2.0", "3.0"))
    first = cli.json("price", "import", str(file))
    assert [price["id"] for price in first["imported"]] == ["echo/CNY/v2"]
    assert cli.json("price", "import", str(file)) == {"imported": [], "unchanged": ["echo/CNY/v2"]}
    assert "unchanged 1" in cli.text("price", "import", str(file))


def test_import_is_all_or_nothing(cli: Cli) -> None:
    """A file whose second price is refused brings in none of its prices."""
    file = cli.home / "new.toml"
    past = PRICES.replace("2.0", "4.0") + 'effective_from = "2020-01-01"\n'
    file.write_text(PRICES.replace("echo", "other") + past)
    assert "cannot change from" in cli.refused("price", "import", str(file))
    assert [price["id"] for price in cli.json("price", "list")["prices"]] == ["echo/CNY/v1"]


def test_what_if_compares_a_month(acme: Cli) -> None:
    """The month's requests by the prices of a file: what they came to, what they would have, and the difference."""
    acme.serve("acme", input=1_000_000, output=1_000_000)
    file = acme.home / "dearer.toml"
    file.write_text(PRICES.replace("2.0", "3.0"))
    month = month_of(SystemClock().now()).name
    assert acme.json("price", "what-if", str(file), "--period", month) == {
        "period": month,
        "rows": [
            {
                "model": "echo", "currency": "CNY", "requests": 1,
                "current": "2.800000000", "new": "3.800000000", "difference": "1.000000000",
            }
        ],
    }  # fmt: skip
    assert "3.800000000" in acme.text("price", "what-if", str(file), "--period", month)
    assert len(acme.json("price", "list")["prices"]) == 1


def test_files_that_cannot_be_read_are_refused(cli: Cli) -> None:
    """A missing file, one that is not TOML, one that is not text, one with a float for a price: by name, with what is wrong."""
    file = cli.home / "bad.toml"
    assert "bad.toml" in cli.refused("price", "import", str(file))
    for content, said in ((b"[[prices", "not TOML"), (b"\xff", "UTF-8"), (b"[[prices]]\nmodel = 'a'\n", "currency")):
        file.write_bytes(content)
        sentence = cli.refused("price", "import", str(file))
        assert "bad.toml" in sentence
        assert said in sentence
    file.write_text(PRICES.replace('"2.0"', "2.0"))
    assert "float" in cli.refused("price", "what-if", str(file), "--period", "2026-11")
    assert "--period" in cli.refused("price", "what-if", str(cli.home / "prices.toml"), "--period", "November")
