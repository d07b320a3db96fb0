"""Writes small GGUF files, sound ones and ones with a given lie in them."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

F32, Q8_0 = 0, 8


class Tensor(NamedTuple):
    """One tensor; `reach` is how many bytes of it are really in the file (None: all)."""

    name: str
    shape: tuple[int, ...]
    kind: int = F32
    size: int = 0


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, value: str | int | float | Sequence[str] | Sequence[int]) -> bytes:
    """A metadata entry: a text, an unsigned number, a float, or an array of texts or numbers."""
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    head = text(key) + struct.pack("<II", 9, 8 if value and isinstance(value[0], str) else 4)
    items = b"".join(text(item) if isinstance(item, str) else struct.pack("<I", item) for item in value)
    return head + struct.pack("<Q", len(value)) + items


def gguf(pairs: Sequence[bytes], tensors: Sequence[Tensor] = (), *, version: int = 3, alignment: int = 32) -> bytes:
    """A whole file; tensors are laid out one after the other, aligned, and filled with nought."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    offset, data = 0, b""
    for tensor in tensors:
        head += text(tensor.name) + struct.pack("<I", len(tensor.shape))
        head += b"".join(struct.pack("<Q", side) for side in tensor.shape) + struct.pack("<IQ", tensor.kind, offset)
        data += b"\0" * (tensor.size + -tensor.size % alignment)
        offset = len(data)
    last = -tensors[-1].size % alignment if tensors else 0
    return head + b"\0" * (-len(head) % alignment) + data[: len(data) - last]


PAIRS = (
    pair("general.architecture", "llama"),
    pair("general.name", "A Small Model"),
    pair("llama.context_length", 1024),
    pair("llama.rope.freq_base", 10000.0),
    pair("tokenizer.ggml.tokens", ["<s>", "</s>", "水"]),
    pair("tokenizer.ggml.token_type", [3, 3, 1]),
)
TENSORS = (Tensor("token_embd.weight", (64, 3), F32, 64 * 3 * 4), Tensor("output.weight", (64, 4), Q8_0, 8 * 34))
SOUND = gguf(PAIRS, TENSORS)
