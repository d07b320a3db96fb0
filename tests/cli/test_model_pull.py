"""`millrace model pull`, and list, show, remove and verify of what was pulled."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.catalog.hub.running import running_hub
from tests.catalog.hub.stand import BIG, FOLDER
from tests.cli.conftest import PRICES, SETTINGS, Cli

from millrace.catalog.hub.fake import FakeHub, Fault, Repo
from millrace.settings.pulled import weights_of

FILES = {"Model-Q8_0.gguf": BIG, "Model-Q4_K_M.gguf": BIG, "README.md": b"# A model"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running_hub({"acme/Model-GGUF": Repo(dict(FILES)), "acme/folder": Repo(dict(FOLDER))}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


def test_pull_list_show_and_serve(cli: Cli, hub: FakeHub) -> None:  # noqa: ARG001 - it runs
    """One command fetches; it ends with the lines that serve the model, and they do."""
    pulled = cli.json("model", "pull", "hf:acme/Model-GGUF", "--parallel", "3")
    assert pulled["pulled"]["name"] == "model"
    assert (pulled["why"], pulled["others"]) == ("Q4_K_M comes first in Q4_K_M, Q8_0, Q5_K_M, Q6_K …", ["Model-Q8_0.gguf"])
    assert (pulled["fetched"], pulled["convert"]) == (len(BIG) + 9, None)
    lines = pulled["add_to_settings"]
    assert tomllib.loads(lines)["models"] == [{"name": "model", "engine": "embedded", "pulled": "model"}]
    (cli.home / "millrace.toml").write_text(SETTINGS + PRICES + lines)
    offered = cli.json("model", "show", "model")
    assert (offered["engine"], offered["context_tokens"], offered["pulled"]) == ("embedded", 1024, "model")
    assert Path(offered["path"]).read_bytes() == BIG
    assert offered["weights"]["source"] == "hf:acme/Model-GGUF"
    listed = cli.json("model", "list")
    assert [(one["name"], one["pulls"], one["requests_served"]) for one in listed["pulled"]] == [("model", 1, 0)]
    assert cli.json("model", "pull", "hf:acme/Model-GGUF")["add_to_settings"] is None


def test_what_people_see(cli: Cli, hub: FakeHub) -> None:  # noqa: ARG001 - it runs
    """Why this file, what else there is, what it needs, what to add; and in the list what it is."""
    said = cli.text("model", "pull", "hf:acme/Model-GGUF", "--name", "mine")
    assert "mine: Model-Q4_K_M.gguf (Q4_K_M comes first" in said
    assert "the source also has: Model-Q8_0.gguf" in said
    assert "of memory for 4 × 1024 tokens" in said
    assert 'pulled = "mine"' in said
    listed = cli.text("model", "list")
    assert "100.0K" in listed
    shown = cli.text("model", "show", "mine")
    for fact in ("hf:acme/Model-GGUF", "llama", "apache-2.0", "Model-Q4_K_M.gguf", "chat template"):
        assert fact in shown


def test_a_folder_of_safetensors_is_to_be_converted(cli: Cli, tmp_path: Path) -> None:
    """A pull without any network; the hint says how to make what the embedded engine loads."""
    folder = tmp_path / "qwen"
    folder.mkdir()
    for path, content in FOLDER.items():
        (folder / path).write_bytes(content)
    pulled = cli.json("model", "pull", str(folder))
    assert (pulled["pulled"]["format"], pulled["convert"]) == ("safetensors", "millrace model convert qwen")
    assert pulled["add_to_settings"] is None
    (cli.home / "millrace.toml").write_text(
        SETTINGS + PRICES + '[[models]]\nname = "q"\nengine = "embedded"\npulled = "qwen"\n' + PRICES.replace("echo", "q")
    )
    assert "millrace model convert qwen" in cli.refused("model", "list")


def test_a_home_is_made_by_a_pull(tmp_path: Path, hub: FakeHub) -> None:  # noqa: ARG001 - it runs
    """Before the first start there is no database, and none is made; what nobody counted is null."""
    fresh = Cli(tmp_path / "fresh")
    fresh.text("model", "pull", "hf:acme/Model-GGUF:Model-Q8_0.gguf")
    assert not (fresh.home / "millrace.db").exists()
    (one,) = fresh.json("model", "list")["pulled"]
    assert (one["name"], one["pulls"], one["requests_served"]) == ("model-q8_0", None, None)


def test_remove(cli: Cli, hub: FakeHub) -> None:  # noqa: ARG001 - it runs
    """Not while millrace.toml offers it, not while a server serves it; then it is gone with its files."""
    lines = cli.json("model", "pull", "hf:acme/Model-GGUF")["add_to_settings"]
    (cli.home / "millrace.toml").write_text(SETTINGS + PRICES + lines)
    assert "millrace.toml offers 'model' as 'model'; take that out of it first" in cli.refused("model", "remove", "model")
    (cli.home / "millrace.toml").write_text(SETTINGS + PRICES)
    with weights_of(cli.home).use("model"):
        assert "a running server serves 'model'" in cli.refused("model", "remove", "model")
    assert cli.json("model", "remove", "model")["removed"]["name"] == "model"
    assert cli.json("model", "list")["pulled"] == []
    assert list((cli.home / "models/blobs").iterdir()) == []
    assert "nothing is pulled yet" in cli.refused("model", "remove", "model")


def test_a_pull_that_was_not_ended_is_seen_and_can_be_dropped(cli: Cli, hub: FakeHub) -> None:
    """What is here of it, how to go on, how to get rid of it."""
    hub.faults = [Fault(at="hub", path="Model-Q4_K_M.gguf", status=404)]
    cli.refused("model", "pull", "hf:acme/Model-GGUF", "--parallel", "1")
    listed = cli.json("model", "list")
    assert {one["source"] for one in listed["unfinished"]} == {"hf:acme/Model-GGUF"}
    assert "'millrace model pull hf:acme/Model-GGUF' goes on" in cli.text("model", "list")
    cli.text("model", "remove", "hf:acme/Model-GGUF")
    assert cli.json("model", "list")["unfinished"] == []
    assert list((cli.home / "models/partial").iterdir()) == []


def test_whole_files_of_a_pull_that_was_not_ended(cli: Cli, tmp_path: Path) -> None:
    """They are seen, since they take room, and dropped with the rest of that pull."""
    (tmp_path / "whole").write_bytes(BIG)
    weights_of(cli.home).blobs.store(tmp_path / "whole")
    assert "1 whole files (0.4 MB) are of no model yet" in cli.text("model", "list")
    assert "no pulled model 'typo'" in cli.refused("model", "remove", "typo")
    cli.text("model", "remove", "hf:acme/other")
    assert list((cli.home / "models/blobs").iterdir()) == []


def test_verify(cli: Cli, hub: FakeHub) -> None:  # noqa: ARG001 - it runs
    """Sound files are said to be; a changed one is named with the command that mends it, and that does."""
    cli.text("model", "pull", "hf:acme/Model-GGUF")
    assert cli.json("model", "verify") == {"ok": True, "checked": 1, "damaged": {}}
    weights = weights_of(cli.home)
    blob = weights.file(weights.find("model"), "Model-Q4_K_M.gguf")
    blob.chmod(0o644)
    blob.write_bytes(b"x" * len(BIG))
    result = cli.run("model", "verify", "model")
    assert result.exit_code == 1
    assert "Model-Q4_K_M.gguf: its content has changed; millrace model pull hf:acme/Model-GGUF --name model" in result.stderr
    cli.text("model", "pull", "hf:acme/Model-GGUF", "--name", "model")
    assert "1 of 1 pulled models" in cli.text("model", "verify")


def test_a_model_that_is_not_pulled_stops_the_start_and_not_the_books(cli: Cli) -> None:
    """The sentence has the command that helps; tenants and invoices need no weights."""
    (cli.home / "millrace.toml").write_text(
        SETTINGS + PRICES + '[[models]]\nname = "q"\nengine = "embedded"\npulled = "gone"\n' + PRICES.replace("echo", "q")
    )
    assert "'gone' is not pulled" in cli.refused("model", "list")
    assert "millrace model pull REF --name gone" in cli.refused("model", "list")
    assert cli.json("tenant", "list") == {"tenants": []}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hf:acme"], "does not name a repository as owner/name"),
        (["acme/Model-GGUF"], "the repository of that name on Hugging Face is hf:acme/Model-GGUF"),
        (["hf:acme/Model-GGUF@a", "--revision", "b"], "say different things"),
        (["./here.gguf", "--revision", "b"], "leave --revision out"),
        (["hf:acme/Model-GGUF", "--name", "a/b"], "cannot be the name of a pulled model"),
        (["hf:acme/Model-GGUF", "--revision", "v9"], "has no revision 'v9'"),
        (["hf:acme/Model-GGUF:none.gguf"], "there are Model-Q4_K_M.gguf, Model-Q8_0.gguf"),
    ],
)
def test_refusals(cli: Cli, hub: FakeHub, arguments: list[str], says: str) -> None:  # noqa: ARG001 - it runs
    """Each with what is wrong and what there is."""
    assert says in cli.refused("model", "pull", *arguments)


def test_a_token_is_in_no_output(cli: Cli, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it is refused nor where it is not; and in no file of the home."""
    hub.repos["acme/Model-GGUF"].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_secret")
    assert "hf_wrong_secret" not in cli.refused("model", "pull", "hf:acme/Model-GGUF")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert hub.token not in cli.text("model", "pull", "hf:acme/Model-GGUF")
    assert not [
        path for path in (cli.home / "models").rglob("*") if path.is_file() and hub.token.encode() in path.read_bytes()
    ]
