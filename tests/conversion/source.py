"""Checkpoints as model makers publish them, with random weights and a vocabulary of the bytes and one word."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from millrace.conversion.config import FORMS, parse_config
from millrace.conversion.names import plan
from millrace.conversion.tokenizer import PRE_TOKENIZERS

Floats = NDArray[np.float32]
Json = dict[str, Any]

SPECIALS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE: Final = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
VOCABULARY: Final = 264

CONFIG: Final[Json] = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu", "hidden_size": 64, "head_dim": 32,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "vocab_size": VOCABULARY, "use_sliding_window": False, "sliding_window": None, "torch_dtype": "bfloat16",
}  # fmt: skip

OTHERS: Final[Mapping[str, Json]] = {
    "Qwen2ForCausalLM": {"head_dim": None, "tie_word_embeddings": False},
    "Qwen2MoeForCausalLM": {
        "head_dim": None, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64, "norm_topk_prob": False, "tie_word_embeddings": False,
    },
    "Qwen3MoeForCausalLM": {
        "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True,
    },
    "LlamaForCausalLM": {
        "attention_bias": True, "mlp_bias": True, "head_dim": None, "tie_word_embeddings": False, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
}  # fmt: skip
"""What other architectures say differently."""

ARCHITECTURES: Final = tuple(FORMS)


def config_of(architecture: str, **changes: Any) -> Json:
    """config.json of one architecture."""
    given = CONFIG | {"architectures": [architecture]} | OTHERS.get(architecture, {}) | changes
    return {key: value for key, value in given.items() if value is not None}


def byte_words() -> list[str]:
    """The 256 letters that byte-level BPE writes bytes with, in the order of the bytes."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def tokenizer_json(pre: str = "qwen2", **changes: Any) -> Json:
    """tokenizer.json that splits words in one of the known ways, and merges nothing but 'ab'."""
    regex, whole = next(rule for rule, name in PRE_TOKENIZERS.items() if name == pre)
    level: Json = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": regex is None}
    split: Json = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    steps = [level] if regex is None else [split, level]
    return {
        "version": "1.0", "normalizer": {"type": "NFC"}, "post_processor": None, "decoder": {"type": "ByteLevel"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "added_tokens": [
            {"id": 256 + place, "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
            for place, word in enumerate(SPECIALS)
        ],
        "model": {
            "type": "BPE", "ignore_merges": whole, "merges": ["a b"],
            "vocab": {word: number for number, word in enumerate(byte_words())} | {"ab": 259},
        },
    } | changes  # fmt: skip


def tensors_of(config: Json, seed: int = 1) -> dict[str, Floats]:
    """Random values for every tensor that the configuration asks for."""
    random = np.random.default_rng(seed)
    shapes = {source: target.source_shape for target in plan(parse_config(config)) for source in target.sources}
    return {name: (random.standard_normal(shape) * 0.2).astype(np.float32) for name, shape in shapes.items()}


def safetensors(tensors: Mapping[str, Floats], kind: str = "F32") -> bytes:
    """The bytes of a file with these tensors, in F32 or (cut off) BF16."""
    head: Json = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in tensors.items():
        raw = value.tobytes() if kind == "F32" else (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        head[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + data


def write_source(folder: Path, config: Json, tensors: Mapping[str, Floats] | None = None, kind: str = "F32") -> Path:
    """A whole folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Json] = {
        "config.json": config,
        "generation_config.json": {"eos_token_id": [258, 256]},
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {
            "eos_token": "<|im_end|>", "pad_token": {"content": "<|endoftext|>"}, "chat_template": TEMPLATE,
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors(tensors_of(config) if tensors is None else tensors, kind))
    return folder
