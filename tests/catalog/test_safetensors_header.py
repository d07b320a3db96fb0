"""What a folder of safetensors says of its model, and which folders are refused."""

import json
import struct
from pathlib import Path

import pytest
from tests.catalog.hub.stand import CONFIG, FOLDER, safetensors

from millrace.base.errors import Reason, Refusal
from millrace.catalog.safetensors_header import FolderHeader, read_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in FOLDER.items():
        (tmp_path / path).write_bytes(content)
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(Refusal) as caught:
        read_folder(folder)
    assert caught.value.reason is Reason.BAD_SETTING
    return caught.value.sentence


def test_a_sound_folder(folder: Path) -> None:
    """Architecture and context from config.json, parameters from the tensors, licence from the card."""
    assert read_folder(folder) == FolderHeader(
        architecture="qwen3", context_tokens=2048, parameters=48, licence="mit", chat_template=True, kv_values=64
    )


def test_several_files_are_summed(folder: Path) -> None:
    """A model in shards has the parameters of all."""
    (folder / "model-2.safetensors").write_bytes(safetensors({"c": (100,)}))
    assert read_folder(folder).parameters == 148


def test_a_template_may_be_a_file(folder: Path) -> None:
    """chat_template.jinja counts, and nothing does not."""
    (folder / "tokenizer_config.json").write_text("{}")
    assert not read_folder(folder).chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert read_folder(folder).chat_template


def test_a_model_that_sees_pictures_keeps_its_text_part_inside(folder: Path) -> None:
    """text_config has the sizes then."""
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl", "text_config": CONFIG}))
    header = read_folder(folder)
    assert (header.architecture, header.context_tokens, header.kv_values) == ("qwen3_vl", 2048, 64)


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("config.json", b"[]", "is not a JSON object"),
        ("config.json", b'{"model_type": "qwen3"}', "does not say the model's architecture and context"),
        ("model.safetensors", b"", "ends within its header"),
        ("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}", "ends within its header"),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]", "its header is damaged"),
        ("model.safetensors", FOLDER["model.safetensors"][:-1], "it was cut short"),
        ("tokenizer_config.json", b"{", "is not a JSON object"),
    ],
)
def test_what_is_damaged_is_named(folder: Path, path: str, content: bytes, says: str) -> None:
    """The sentence names the file and what is wrong with it."""
    (folder / path).write_bytes(content)
    sentence = refusal(folder)
    assert says in sentence
    assert path in sentence


def test_a_missing_config_is_named(folder: Path) -> None:
    """Without it nobody knows what the tensors are."""
    (folder / "config.json").unlink()
    assert "config.json is not usable: it cannot be read" in refusal(folder)
