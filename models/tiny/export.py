"""Writes a checkpoint as GGUF that llama.cpp loads: architecture qwen3, matrices in Q8_0, vectors in float32.

Run: python -m models.tiny.export --run DIR [--to FILE]      also while training goes on; the file appears whole or not at all
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from models.tiny.model import Shape
from models.tiny.vocabulary import SPECIALS

NAME = "millrace-tiny"
BUNDLED = Path(__file__).resolve().parents[2] / "src/millrace/catalog/bundled" / f"{NAME}.gguf"
TEMPLATE = Path(__file__).with_name("chat_template.jinja")
TEMPERATURE = 0.2  # where a caller names none: so small a model goes astray at the usual 0.8
BYTES_MAX = 40_000_000

PARTS = {
    "embed.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "attention_norm.weight": "attn_norm.weight",
    "feed_norm.weight": "ffn_norm.weight",
    "attention.q.weight": "attn_q.weight",
    "attention.k.weight": "attn_k.weight",
    "attention.v.weight": "attn_v.weight",
    "attention.out.weight": "attn_output.weight",
    "attention.q_norm.weight": "attn_q_norm.weight",
    "attention.k_norm.weight": "attn_k_norm.weight",
    "feed.gate.weight": "ffn_gate.weight",
    "feed.up.weight": "ffn_up.weight",
    "feed.down.weight": "ffn_down.weight",
}


def tensor_name(name: str) -> str:
    """`blocks.3.feed.up.weight` is `blk.3.ffn_up.weight` in GGUF."""
    if name.startswith("blocks."):
        _, number, part = name.split(".", 2)
        return f"blk.{number}.{PARTS[part]}"
    return PARTS[name]


def export(run: Path, to: Path) -> int:
    """Writes the running mean of the weights in `run`; the size of the file in bytes."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    part = to.with_suffix(".part")
    writer = gguf.GGUFWriter(str(part), "qwen3")
    _describe(writer, Shape(**state["shape"]))
    _tokenizer(writer, run / "tokenizer.json")
    for name, value in state["mean"].items():
        _tensor(writer, tensor_name(name), value.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    size = part.stat().st_size
    if size > BYTES_MAX:
        raise SystemExit(f"{size} bytes are more than the {BYTES_MAX} that the repository carries")
    part.replace(to)
    return size


def _describe(writer: Any, shape: Shape) -> None:
    writer.add_name(NAME)
    writer.add_description("A small demonstration model for Millrace, trained from scratch")
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "zh"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_sampling_temp(TEMPERATURE)


def _tokenizer(writer: Any, path: Path) -> None:
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    entries = sorted(model["vocab"], key=model["vocab"].get)
    control = {word for word in SPECIALS if word.startswith("<|")}
    kinds = [
        gguf.TokenType.CONTROL
        if word in control
        else gguf.TokenType.USER_DEFINED
        if word in SPECIALS
        else gguf.TokenType.NORMAL
        for word in entries
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(entries)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(model["vocab"]["<|im_end|>"])
    writer.add_pad_token_id(model["vocab"]["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE.read_text(encoding="utf-8").rstrip("\n"))


def _tensor(writer: Any, name: str, value: np.ndarray) -> None:
    if value.ndim == 1:
        writer.add_tensor(name, value.astype(np.float32))
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(value.astype(np.float32), kind), raw_dtype=kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=BUNDLED)
    given = parser.parse_args()
    given.to.parent.mkdir(parents=True, exist_ok=True)
    print(f"{export(given.run, given.to):,} bytes in {given.to}")


if __name__ == "__main__":
    main()
