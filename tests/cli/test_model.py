"""`millrace model`."""

from pathlib import Path

from tests.cli.conftest import PRICES, SETTINGS, Cli

from millrace import schema
from millrace.catalog.tuned import store
from millrace.catalog.tuned.values import TunedModel, tuned_name
from millrace.tenants.store import tenant_named


def test_list_and_show_say_what_is_on_offer(cli: Cli) -> None:
    """Models as the settings declare them, with the prices in force."""
    (listed,) = cli.json("model", "list")["models"]
    shown = cli.json("model", "show", "echo")
    assert {**listed, "weights": None} == shown
    assert {name: shown[name] for name in ("name", "engine", "context_tokens", "max_output_tokens")} == {
        "name": "echo", "engine": "fake", "context_tokens": 8192, "max_output_tokens": 4096,
    }  # fmt: skip
    assert shown["prices"][0]["id"] == "echo/CNY/v1"
    assert "echo/CNY/v1" in cli.text("model", "list")
    assert "2.000000000" in cli.text("model", "show", "echo")


def test_only_the_price_in_force_counts(cli: Cli) -> None:
    """A newer version takes the place of the older one, a planned one does not yet."""
    newer = PRICES.replace("2.0", "3.0")
    planned = newer.replace("3.0", "9.0") + 'effective_from = "2200-01-01"\n'
    for name, text in (("newer.toml", newer), ("planned.toml", planned)):
        (cli.home / name).write_text(text)
        cli.text("price", "import", str(cli.home / name))
    assert [price["id"] for price in cli.json("model", "show", "echo")["prices"]] == ["echo/CNY/v2"]


def test_before_the_first_start_there_are_models_and_no_prices(tmp_path: Path) -> None:
    """What is on offer can be looked at before there is a database, and looking makes none."""
    (tmp_path / "other.toml").write_text(SETTINGS + PRICES)
    fresh = Cli(tmp_path / "fresh")
    (model,) = fresh.json("model", "list", "--config", str(tmp_path / "other.toml"))["models"]
    assert (model["name"], model["prices"]) == ("echo", [])
    assert not fresh.home.exists()


def test_an_unknown_model_is_refused_with_those_there_are(cli: Cli) -> None:
    """The sentence names what is on offer."""
    assert "on offer: echo" in cli.refused("model", "show", "ecco")


def test_broken_settings_are_refused(cli: Cli) -> None:
    """A setting that is none is refused by name, by whatever command reads it."""
    (cli.home / "millrace.toml").write_text("[sever]\nport = 1\n")
    assert "sever" in cli.refused("model", "list")
    assert "sever" in cli.refused("tenant", "list")


def test_tuned_models_are_listed_shown_and_removed(cli: Cli) -> None:
    """The operator sees whose they are and on what base, and can end the offer of any; a second time there is none."""
    cli.json("tenant", "create", "acme")
    db = schema.connect(cli.home / "millrace.db")
    tenant = db.read(lambda tx: tenant_named(tx, "acme"))
    name = tuned_name("echo", "acme", "job_1")
    model = TunedModel(name=name, tenant_id=tenant.id, base="echo", job_id="job_1", sha256="a" * 64, created_at=0)
    db.write_now(lambda tx: store.publish(tx, model))
    db.close()
    (listed,) = cli.json("model", "list")["tuned"]
    assert (listed["name"], listed["base"], listed["tenant"], listed["job"]) == (name, "echo", "acme", "job_1")
    assert name in cli.text("model", "list")
    assert cli.json("model", "show", name)["path"].endswith(f"adapters/{'a' * 64}.gguf")
    assert cli.json("model", "remove", name)["removed"] == listed
    assert cli.json("model", "list")["tuned"] == []
    assert "there is no tuned model" in cli.refused("model", "remove", name)
    assert "there is no tuned model" in cli.refused("model", "show", name)
