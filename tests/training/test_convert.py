"""Converted weights against transformers: the same probabilities, and the same tokens, from llama.cpp."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.training.needs import need

need("torch", "transformers", "tokenizers", "peft", "gguf", "numpy")

import torch
from peft import LoraConfig, get_peft_model
from tests.training import probabilities, tiny
from tests.training.llama import Llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from millrace.base.errors import Refusal
from millrace.conversion.adapter import convert_adapter
from millrace.conversion.convert import convert
from millrace.conversion.kinds import KINDS, Kind

pytestmark = pytest.mark.filterwarnings("ignore")

BOUNDS: dict[Kind, float] = {"f32": 0.02, "f16": 0.03, "bf16": 0.15, "q8_0": 0.5, "q4_k_m": 4.0}
"""Of a log-probability, whose values spread over 7. llama.cpp keeps keys and values in 16 bits, whatever the weights are in.
Random weights are the worst case of 4 bits: nothing in them was trained to be forgiving, and an expert that is hardly chosen
over another may not be any more."""

NASTY = (
    "1234567 and 3.14159, 1,299.00 and 2026-11-24",
    "水车转动，磨坊的水。　全角 spaces",
    "emoji 🙂🙃 and a family 👨‍👩‍👧‍👦, flags 🇨🇳",
    "   leading blanks, trailing blanks   ",
    "\n\n\ttabs\r\nand lines\n \n",
    "It's what they'LL say; WE'VE seen'it",
    "<|im_start|>user\nhello<|im_end|><tool_call>{}",
    "naïve Straße ñandú Ωmega İstanbul",
    "a\u200bb\u00a0c\u2028d",
    "",
)


def quiet(_: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture(scope="module", params=sorted(tiny.CONFIGS))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """Name, folder and model of one architecture."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, tiny.save(folder, request.param)


def test_llama_cpp_answers_as_transformers_does(
    source: tuple[str, Path, Any], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each architecture in each kind gives the log-probabilities of the original within the kind's bound."""
    name, folder, model = source
    found = {}
    for kind in KINDS:
        made = convert(folder, tmp_path / f"{kind}.gguf", kind, quiet)
        assert made.fallbacks == {}
        found[kind] = probabilities.worst(Llama(made.path), model, tiny.VOCABULARY)
        record_property(f"{name} {kind}", f"{found[kind]:.4f}")
    assert {kind: error for kind, error in found.items() if error > BOUNDS[kind]} == {}


def test_llama_cpp_splits_text_as_tokenizers_does(source: tuple[str, Path, Any], tmp_path: Path) -> None:
    """Numbers, Chinese, emoji, blanks, special tokens: the same ids, and the same token at the beginning."""
    _, folder, _ = source
    llama = Llama(convert(folder, tmp_path / "model.gguf", "f16", quiet).path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in NASTY:
        assert llama.tokens(text) == tokenizer.encode(text, add_special_tokens=False), text
        body = {"content": text, "add_special": True, "parse_special": True}
        assert llama._post("/tokenize", body)["tokens"] == tokenizer.encode(text), text


def test_a_conversation_is_written_as_the_template_says(source: tuple[str, Path, Any], tmp_path: Path) -> None:
    """The chat template goes over."""
    _, folder, _ = source
    llama = Llama(convert(folder, tmp_path / "model.gguf", "f16", quiet).path)
    said = llama.prompt([{"role": "user", "content": "Hello 水"}])
    assert said == "<|im_start|>user\nHello 水<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(("dtype", "shard"), [(torch.bfloat16, "5GB"), (torch.float16, "1MB")], ids=["bf16", "f16 in shards"])
def test_other_numbers_and_several_files(dtype: torch.dtype, shard: str, tmp_path: Path) -> None:
    """bfloat16 and float16 are read exactly, from one file or from several with an index."""
    tiny.save(tmp_path / "source", "qwen3", dtype, shard)
    assert (tmp_path / "source" / "model.safetensors.index.json").exists() == (shard == "1MB")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "source", dtype=torch.float32).eval()
    made = convert(tmp_path / "source", tmp_path / "model.gguf", "f32", quiet)
    assert probabilities.worst(Llama(made.path), model, tiny.VOCABULARY) < BOUNDS["f32"]


@pytest.mark.parametrize("name", ["qwen3", "llama3", "qwen2"])
def test_an_adapter_changes_its_base_as_peft_does(name: str, tmp_path: Path) -> None:
    """Every linear module is changed, and llama.cpp's probabilities are those of the adapted model, far from the base's."""
    model = tiny.save(tmp_path / "source", name)
    base = convert(tmp_path / "source", tmp_path / "base.gguf", "f32", quiet).path
    modules = [f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")]
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=12, target_modules=modules, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "peft")
    assert convert_adapter(tmp_path / "peft", base, tmp_path / "adapter.gguf") == 2 * len(modules)
    llama = Llama(base, adapter=tmp_path / "adapter.gguf")
    assert probabilities.worst(llama, adapted.eval(), tiny.VOCABULARY) < BOUNDS["f16"]
    assert probabilities.worst(Llama(base), adapted, tiny.VOCABULARY) > 0.5


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    """Another architecture, or modules that the base does not have, are named; nothing is written."""
    model = tiny.save(tmp_path / "source", "qwen3")
    tiny.save(tmp_path / "other", "llama3")
    base = convert(tmp_path / "other", tmp_path / "base.gguf", "f16", quiet).path
    get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(tmp_path / "peft")
    with pytest.raises(Refusal, match=r"blk\.0\.attn_q\.weight is \(256, 256\) in the base"):
        convert_adapter(tmp_path / "peft", base, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()
