"""`millrace model convert`: into the home's store or into a file, and every no."""

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import PRICES, SETTINGS, Cli
from tests.conversion.source import config_of, write_source

from millrace.catalog.bundled import PATH
from millrace.catalog.gguf_header import read_header
from millrace.settings.pulled import weights_of

CARD = "---\nlicense: apache-2.0\n---\n# Mill\n"


def folder_of(place: Path, **changes: Any) -> Path:
    """A Qwen3 model with its card."""
    folder = write_source(place, config_of("Qwen3ForCausalLM"))
    (folder / "config.json").write_text(json.dumps(config_of("Qwen3ForCausalLM", **changes)))
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def mill(cli: Cli, tmp_path: Path) -> Cli:
    """With the pulled model `mill` in safetensors form."""
    cli.text("model", "pull", str(folder_of(tmp_path / "mill")))
    return cli


def test_a_pulled_model_becomes_one_that_can_be_served(mill: Cli) -> None:
    """It lies beside the original under NAME-KIND, with its licence and model card, and the printed lines offer it."""
    made = mill.json("model", "convert", "mill")
    one = made["converted"]
    assert (one["name"], one["source"], one["format"]) == ("mill-q8_0", "converted:q8_0:mill", "gguf")
    assert (one["architecture"], one["licence"], one["chat_template"]) == ("qwen3", "apache-2.0", True)
    assert [file["path"] for file in one["files"]] == ["mill-q8_0.gguf", "README.md"]
    assert (made["kind"], made["fallbacks"], made["size"]) == ("q8_0", {}, Path(made["file"]).stat().st_size)
    lines = made["add_to_settings"]
    assert tomllib.loads(lines)["models"] == [{"name": "mill-q8_0", "engine": "embedded", "pulled": "mill-q8_0"}]
    (mill.home / "millrace.toml").write_text(SETTINGS + PRICES + lines)
    assert mill.json("model", "show", "mill-q8_0")["path"] == made["file"]
    assert [found["name"] for found in mill.json("model", "list")["pulled"]] == ["mill", "mill-q8_0"]


def test_what_people_see(mill: Cli) -> None:
    """What was made, which tensors could not have the usual type, and the lines that serve it."""
    said = mill.text("model", "convert", "mill", "--kind", "Q4_K_M", "--name", "small")
    assert said.startswith("small: qwen3, q4_k_m, ")
    assert "since their rows do not fill the blocks of the usual type: " in said
    assert 'pulled = "small"' in said


def test_nothing_is_left_beside_the_result(mill: Cli) -> None:
    """The place where it was written is empty again, also of a conversion that was killed."""
    left = mill.home / "models" / "partial" / "convert-killed"
    left.mkdir()
    (left / ".half.gguf.1.part").write_bytes(b"GGUF")
    mill.text("model", "convert", "mill")
    assert list((mill.home / "models" / "partial").iterdir()) == []


def test_a_folder_into_a_file(cli: Cli, tmp_path: Path) -> None:
    """--to keeps nothing in the home, and does not write over what is there."""
    to = tmp_path / "out.gguf"
    made = cli.json("model", "convert", str(folder_of(tmp_path / "My Mill")), "--to", str(to), "--kind", "f16")
    assert (made["converted"], made["file"], made["add_to_settings"]) == (None, str(to), None)
    assert (read_header(to).architecture, read_header(to).name) == ("qwen3", "my-mill")
    assert cli.json("model", "list")["pulled"] == []
    assert "is there already" in cli.refused("model", "convert", str(tmp_path / "My Mill"), "--to", str(to))


def test_a_folder_into_the_home(cli: Cli, tmp_path: Path) -> None:
    """The result remembers the folder: what is damaged later is made anew by the command that `verify` says."""
    folder = folder_of(tmp_path / "My Mill")
    made = cli.json("model", "convert", str(folder), "--kind", "f16")
    weights = weights_of(cli.home)
    blob = weights.file(weights.find("my-mill-f16"), "my-mill-f16.gguf")
    blob.chmod(0o644)
    blob.write_bytes(b"x" * made["size"])
    said = cli.run("model", "verify").stderr.strip()
    again = f"millrace model convert '{folder}' --kind f16 --name my-mill-f16"
    assert said.endswith(f"its content has changed; {again}")
    cli.text(*shlex.split(again)[1:])
    assert cli.json("model", "verify")["ok"] is True


def test_a_name_that_is_taken_is_refused(mill: Cli) -> None:
    """The same conversion may be repeated, another under the same name is refused before anything is written."""
    mill.text("model", "convert", "mill", "--name", "small")
    mill.text("model", "convert", "mill", "--name", "small")
    assert "belongs to what came from converted:q8_0:mill" in mill.refused(
        "model", "convert", "mill", "--name", "small", "--kind", "f16"
    )
    assert "belongs to what came from" in mill.refused("model", "convert", "mill", "--name", "mill")


def test_every_no_is_a_sentence(mill: Cli, tmp_path: Path) -> None:
    """What is not there, is GGUF already, is no kind, or contradicts itself; nothing new is in the store."""
    mill.text("model", "pull", str(PATH), "--name", "tiny")
    folder_of(tmp_path / "strange", architectures=["MambaForCausalLM"])
    for arguments, said in (
        (("gone",), "'gone' is neither a folder nor a pulled model in safetensors form (there: mill)"),
        (("tiny",), "'tiny' is GGUF already (millrace-tiny.gguf)"),
        (("mill", "--kind", "q2"), "'q2' is no kind to convert to; there are f32, f16, bf16, q8_0, q4_k_m"),
        (("mill", "--to", str(tmp_path / "x.gguf"), "--name", "x"), "give one"),
        (("mill", "--to", str(tmp_path / "no" / "x.gguf")), "cannot be written: No such file or directory"),
        (("mill", "--name", "../x"), "cannot be the name of a pulled model"),
        ((str(tmp_path / "strange"),), "its architecture is 'MambaForCausalLM'"),
    ):
        assert said in mill.refused("model", "convert", *arguments)
    assert [one["name"] for one in mill.json("model", "list")["pulled"]] == ["mill", "tiny"]
