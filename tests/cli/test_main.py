"""What holds for every command: help with an example, where the home is named, streams and exit codes."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Cli
from typer.main import get_command
from typer.testing import CliRunner

import millrace
from millrace.cli.main import app

EXPECTED = """
up demo eval usage receipt balance trial-balance audit reconcile
tenant-create tenant-list tenant-show tenant-suspend tenant-resume key-create key-list key-revoke
grant-create grant-list model-list model-show model-pull model-convert model-remove model-verify
model-push hub-list hub-show hub-visibility hub-remove
price-list price-import price-what-if
tune-estimate tune-start tune-list tune-show tune-events tune-curve tune-cancel tune-worker
invoice-run invoice-list invoice-show invoice-void backup restore doctor export-run export-list export-verify retention-run
"""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that lead to it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*path, name))


LEAVES = list(leaves(get_command(app)))


def test_every_command_of_the_contract_is_there() -> None:
    """No more and no fewer than this list."""
    assert sorted("-".join(path) for path, _ in LEAVES) == sorted(EXPECTED.split())


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_help_has_an_example_that_parses(path: tuple[str, ...], command: Any) -> None:
    """--help ends with a line that the command itself accepts, and every option says what it is."""
    result = CliRunner().invoke(app, [*path, "--help"])
    example = result.stdout.strip().splitlines()[-1].strip()
    assert result.exit_code == 0
    assert example.startswith("Example:  millrace " + " ".join(path))
    command.make_context(path[-1], shlex.split(example)[2 + len(path) :])
    assert all(parameter.help for parameter in command.params if parameter.name != "help")


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_command_takes_home_and_json(path: tuple[str, ...], command: Any) -> None:  # noqa: ARG001
    """As the contract says."""
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--home", "--json", "--config"} <= options


def test_home_may_stand_in_three_places_or_in_the_environment(cli: Cli) -> None:
    """Before the group, before the verb and after it; else MILLRACE_HOME; what stands last wins."""
    home = str(cli.home)
    cli.text("tenant", "create", "acme")
    for arguments in (
        ["--home", home, "--json", "tenant", "list"], ["tenant", "--home", home, "--json", "list"],
        ["tenant", "list", "--home", home, "--json"], ["--home", "/nowhere/at/all", "tenant", "list", "--home", home, "--json"],
    ):  # fmt: skip
        result = CliRunner().invoke(app, arguments)
        assert '"name":"acme"' in result.stdout
    assert "acme" in CliRunner().invoke(app, ["tenant", "list"], env={"MILLRACE_HOME": home}).stdout


def test_a_mistyped_home_is_noticed(tmp_path: Path) -> None:
    """A command that only looks makes no home, and says how one is made."""
    nowhere = Cli(tmp_path / "typo")
    assert "millrace up --home" in nowhere.refused("tenant", "list")
    assert not nowhere.home.exists()


def test_tenants_and_prices_can_be_prepared_before_the_first_start(tmp_path: Path) -> None:
    """Commands that put something into the books make the home that they need."""
    fresh = Cli(tmp_path / "deep" / "fresh")
    fresh.text("tenant", "create", "acme")
    assert (fresh.home.stat().st_mode & 0o777, [one["name"] for one in fresh.json("tenant", "list")["tenants"]]) == (
        0o700, ["acme"],
    )  # fmt: skip


def test_a_home_that_cannot_be_is_a_refusal(tmp_path: Path) -> None:
    """One sentence that names the folder and the remedy."""
    (tmp_path / "file").write_text("")
    sentence = Cli(tmp_path / "file" / "home").refused("tenant", "create", "acme")
    assert "file/home" in sentence
    assert "--home" in sentence


def test_a_database_that_is_none_is_a_refusal(cli: Cli) -> None:
    """A damaged file is one sentence, not a traceback."""
    (cli.home / "millrace.db").write_bytes(b"this is not a database" * 1000)
    for name in ("millrace.db-wal", "millrace.db-shm"):
        (cli.home / name).unlink(missing_ok=True)
    assert "millrace.db cannot be used" in cli.refused("tenant", "list")


def test_config_says_where_the_books_are(cli: Cli, tmp_path: Path) -> None:
    """--config instead of the home's own settings: the same database as a server that was started with it."""
    other = tmp_path / "other.toml"
    other.write_text('[store]\nurl = "sqlite:///other.db"\n')
    cli.text("tenant", "create", "elsewhere", "--config", str(other))
    assert (cli.home / "other.db").is_file()
    assert cli.json("tenant", "list") == {"tenants": []}


def test_missing_weights_do_not_keep_the_books_closed(cli: Cli) -> None:
    """Only what needs the model files looks at them."""
    (cli.home / "millrace.toml").write_text(
        '[[models]]\nname = "gone"\nengine = "embedded"\npath = "gone.gguf"\ncontext_tokens = 1024\n'
        '[[prices]]\nmodel = "gone"\ncurrency = "CNY"\ninput = "1"\noutput = "1"\n'
    )
    assert cli.json("tenant", "list") == {"tenants": []}
    assert "gone.gguf" in cli.refused("model", "list")


def test_version_and_wrong_usage() -> None:
    """--version prints one line; no command, an unknown one or an unknown option is wrong usage: exit code 2 on stderr."""
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"millrace {millrace.__version__}\n")
    for arguments in ([], ["tenant"], ["frobnicate"], ["tenant", "list", "--frobnicate"], ["up", "--workers", "none"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output
