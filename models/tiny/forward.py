"""The network of a GGUF file in numpy, to measure how likely it finds a text: llama.cpp tells that of no given text.

Weights are Q8_0 made float32, sums are float32: apart from llama.cpp's rounding of what goes into a matrix to 8 bits, the
same sums. Slow and simple.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

Array = np.ndarray[Any, Any]


class Network:
    """A file of the architecture qwen3 with tied ends."""

    def __init__(self, model: Path) -> None:
        reader = gguf.GGUFReader(model)
        self.weights = {one.name: gguf.dequantize(one.data, one.tensor_type) for one in reader.tensors}
        field = {name.removeprefix("qwen3."): value.contents() for name, value in reader.fields.items() if "qwen3." in name}
        self.layers, self.heads, self.kv_heads = (
            int(field[name]) for name in ("block_count", "attention.head_count", "attention.head_count_kv")
        )
        self.head = int(field["attention.key_length"])
        self.epsilon = float(field["attention.layer_norm_rms_epsilon"])
        self.base = float(field["rope.freq_base"])

    def surprise(self, tokens: list[int]) -> Array:
        """How surprising each token but the first is after those before it, in nats."""
        hidden = self._hidden(tokens)[:-1]
        logits = hidden @ self.weights["token_embd.weight"].T
        most = logits.max(axis=1)
        sums = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        told: Array = sums - logits[np.arange(len(hidden)), tokens[1:]]
        return told

    def _hidden(self, tokens: list[int]) -> Array:
        x = self.weights["token_embd.weight"][tokens]
        cosine, sine = self._places(len(tokens))
        for layer in range(self.layers):
            part = {name: self.weights[f"blk.{layer}.{name}.weight"] for name in _PARTS}
            x = x + self._attention(self._norm(x, part["attn_norm"]), part, cosine, sine)
            y = self._norm(x, part["ffn_norm"])
            gate = y @ part["ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (y @ part["ffn_up"].T)) @ part["ffn_down"].T
        return self._norm(x, self.weights["output_norm.weight"])

    def _attention(self, x: Array, part: dict[str, Array], cosine: Array, sine: Array) -> Array:
        count = len(x)
        q, k, v = ((x @ part[name].T).reshape(count, -1, self.head).swapaxes(0, 1) for name in ("attn_q", "attn_k", "attn_v"))
        q = _rotate(self._norm(q, part["attn_q_norm"]), cosine, sine)
        k = _rotate(self._norm(k, part["attn_k_norm"]), cosine, sine)
        k, v = (one.repeat(self.heads // self.kv_heads, axis=0) for one in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(self.head, dtype=np.float32)
        scores += np.triu(np.full((count, count), -np.inf, np.float32), 1)
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        mixed = scores / scores.sum(axis=2, keepdims=True) @ v
        out: Array = mixed.swapaxes(0, 1).reshape(count, -1) @ part["attn_output"].T
        return out

    def _norm(self, x: Array, weight: Array) -> Array:
        out: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon) * weight
        return out

    def _places(self, count: int) -> tuple[Array, Array]:
        steps = self.base ** (-np.arange(0, self.head, 2) / self.head)
        angles = np.outer(np.arange(count), steps).astype(np.float32)
        return np.cos(angles), np.sin(angles)


def _rotate(x: Array, cosine: Array, sine: Array) -> Array:
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate((first * cosine - second * sine, second * cosine + first * sine), axis=-1)


_PARTS = (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm", "ffn_norm", "ffn_gate", "ffn_up",
    "ffn_down",
)  # fmt: skip
