"""Adapters: what llama.cpp gets of them, and what it would not compute as PEFT does."""

import json
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import pytest
from tests.conversion.source import Floats, config_of, safetensors, tensors_of, write_source

from millrace.base.errors import Refusal
from millrace.conversion.adapter import convert_adapter
from millrace.conversion.convert import convert

RANK: Final = 4
CONFIG: Final[dict[str, Any]] = {
    "peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj"], "use_dora": False,
    "modules_to_save": None, "rank_pattern": {}, "lora_dropout": 0.05, "base_model_name_or_path": "somewhere",
}  # fmt: skip
MODULE: Final = "base_model.model.model.layers.1.self_attn.k_proj"


def base(folder: Path, architecture: str = "LlamaForCausalLM", **changes: Any) -> Path:
    """A base in GGUF."""
    config = config_of(architecture, **changes)
    source = write_source(folder / "source", config, tensors_of(config))
    return convert(source, folder / "base.gguf", "q8_0", lambda _: None).path


def pair(module: str = MODULE, rows: int = 32, columns: int = 64) -> dict[str, Floats]:
    random = np.random.default_rng(5)
    return {
        f"{module}.lora_A.weight": random.standard_normal((RANK, columns)).astype(np.float32),
        f"{module}.lora_B.weight": random.standard_normal((rows, RANK)).astype(np.float32),
    }


def peft(folder: Path, tensors: dict[str, Floats] | None = None, **changes: Any) -> Path:
    """A folder as PEFT saves it."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "adapter_model.safetensors").write_bytes(safetensors(pair() if tensors is None else tensors))
    return folder


def test_both_halves_and_the_factor_go_over(tmp_path: Path) -> None:
    """A as it is, B with llama's K in llama.cpp's order; the head says adapter, kind, base and alpha."""
    to = tmp_path / "adapter.gguf"
    assert convert_adapter(peft(tmp_path / "peft"), base(tmp_path), to) == 1
    reader = gguf.GGUFReader(to)
    there = {one.name: np.asarray(one.data) for one in reader.tensors}
    assert sorted(there) == ["blk.1.attn_k.weight.lora_a", "blk.1.attn_k.weight.lora_b"]
    order = [head * 16 + place for head in range(2) for half in range(8) for place in (half, half + 8)]
    assert np.array_equal(there["blk.1.attn_k.weight.lora_a"], pair()[f"{MODULE}.lora_A.weight"])
    assert np.array_equal(there["blk.1.attn_k.weight.lora_b"], pair()[f"{MODULE}.lora_B.weight"][order])
    said = {}
    for key in ("general.type", "general.architecture", "adapter.type", "adapter.lora.alpha"):
        field = reader.get_field(key)
        assert field is not None
        said[key] = field.contents()
    assert said == {
        "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora", "adapter.lora.alpha": 8.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"use_dora": True}, "'use_dora'"),
        ({"use_rslora": True}, "'use_rslora'"),
        ({"rank_pattern": {"q_proj": 8}}, "'rank_pattern'"),
        ({"alpha_pattern": {"q_proj": 8}}, "'alpha_pattern'"),
        ({"fan_in_fan_out": True}, "'fan_in_fan_out'"),
        ({"modules_to_save": ["lm_head"]}, "'modules_to_save'"),
        ({"lora_alpha": None}, "lora_alpha is None"),
    ],
)
def test_more_than_plain_lora_is_refused_by_name(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    """llama.cpp would leave it out without a word."""
    with pytest.raises(Refusal) as refused:
        convert_adapter(peft(tmp_path / "peft", **changes), tmp_path / "base.gguf", tmp_path / "adapter.gguf")
    assert named in refused.value.sentence


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({}, "the adapter is empty"),
        (pair("base_model.model.model.embed_tokens", 264), "nothing that an adapter of llama.cpp can change"),
        (pair("base_model.model.model.layers.0.mlp.experts.3.up_proj"), "nothing that an adapter of llama.cpp can change"),
        (pair("base_model.model.model.layers.7.self_attn.k_proj"), "the base has no blk.7.attn_k.weight"),
        (pair(rows=64), "blk.1.attn_k.weight is (32, 64) in the base, and the adapter is made for (64, 64)"),
        (dict(list(pair().items())[:1]), "one half is missing"),
    ],
)
def test_what_is_not_made_for_this_base_is_refused(tensors: dict[str, Floats], named: str, tmp_path: Path) -> None:
    """The module is named, and nothing is written."""
    with pytest.raises(Refusal) as refused:
        convert_adapter(peft(tmp_path / "peft", tensors), base(tmp_path), tmp_path / "adapter.gguf")
    assert named in refused.value.sentence
    assert not (tmp_path / "adapter.gguf").exists()


def test_tied_embeddings_have_no_head_to_change(tmp_path: Path) -> None:
    """The output of such a base is its embeddings."""
    folder = peft(tmp_path / "peft", pair("base_model.model.lm_head", 264))
    with pytest.raises(Refusal, match=r"the base has no output\.weight: .* embeddings are tied"):
        convert_adapter(folder, base(tmp_path, "Qwen3ForCausalLM"), tmp_path / "adapter.gguf")
