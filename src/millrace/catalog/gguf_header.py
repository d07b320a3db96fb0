"""What the head of a GGUF file says about its model, without reading the weights.

The format (ggml-org/ggml, docs/gguf.md, versions 2 and 3, little-endian): magic, version, counts; then metadata as
typed key-value pairs; then one descriptor for each tensor; then the tensors, aligned. Every length in it is somebody's
claim, so each is bounded before it is believed, and the tensors must lie inside the file: a download that was cut short
is noticed. Of a model that is split over several files each part has a header, and the first has what the others lack.
Not covered: big-endian files, and whether the weights are any good.
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)

TEXT_BYTES_MAX: Final = 16 * 1024 * 1024
"""One text; the longest in use are chat templates of some tens of kB."""

PAIRS_MAX: Final = 65_536
TENSORS_MAX: Final = 1_000_000
ARRAY_MAX: Final = 16_000_000
"""Pairs, tensors and array items: the largest models have some 100, 3,000 and 500,000."""

DIMENSIONS_MAX: Final = 4
NESTING_MAX: Final = 4

ALIGNMENT_DEFAULT: Final = 32

_SCALARS: Final = {
    kind: struct.Struct(f"<{form}")
    for kind, form in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
_TEXT: Final = 8
_ARRAY: Final = 9
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}
"""Tensor type → (values, bytes) of one block. Of a type that is not here, only the start of the tensor is checked."""


class GgufHeader(Struct, frozen=True, kw_only=True):
    """What a file says of itself. `parameters` is counted from the tensors."""

    architecture: str
    context_tokens: int
    parameters: int
    name: str | None
    licence: str | None = None
    chat_template: bool = False
    """Whether it says how a conversation is written for it."""
    kv_values: int | None = None
    """Numbers in the KV cache for each token of context, None where the file does not say what they come from."""


class _Damaged(Exception):
    """The file is not what it claims to be; the text says where."""


def read_header(path: Path) -> GgufHeader:
    """Raises BAD_SETTING, naming the file, when it is missing, damaged or not a GGUF model."""
    return read_headers([path])


def read_headers(parts: Sequence[Path]) -> GgufHeader:
    """Of a model in these files, the first part first. Raises BAD_SETTING as `read_header` does."""
    (metadata, parameters), *others = [_read(path) for path in parts]
    try:
        return _header(metadata, parameters + sum(more for _, more in others))
    except _Damaged as damage:
        raise _unusable(parts[0], damage) from damage


def check_contents(path: Path) -> None:
    """Raises BAD_SETTING for a file that is damaged or no GGUF file; it may be an adapter, or a part of a model."""
    _read(path)


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The metadata of one file, and how many numbers its tensors have."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _contents(_Reader(file, size))
    except OSError as error:
        raise Refusal(Reason.BAD_SETTING, f"the model file {path} cannot be read: {error.strerror}") from error
    except _Damaged as damage:
        raise _unusable(path, damage) from damage


def _unusable(path: Path, damage: _Damaged) -> Refusal:
    return Refusal(Reason.BAD_SETTING, f"the model file {path} is not usable: {damage}; fetch it again, as a GGUF file")


class _Reader:
    """Reads forward only, and never past the end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.at = 0

    def take(self, count: int) -> bytes:
        raw = self._file.read(count)
        if len(raw) != count:
            raise _Damaged(f"it ends within its header, at byte {self.size}")
        self.at += count
        return raw

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def count(self, what: str, most: int) -> int:
        value: int = self.number(_U64)
        if value > most:
            raise _Damaged(f"it claims {value} {what} at byte {self.at}, more than {most}")
        return value

    def text(self) -> str:
        try:
            return self.take(self.count("bytes of text", TEXT_BYTES_MAX)).decode("utf-8")
        except UnicodeDecodeError:
            raise _Damaged(f"its text before byte {self.at} is not UTF-8") from None

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY or depth == NESTING_MAX:
            raise _Damaged(f"it has a value of the unknown type {kind} at byte {self.at}")
        return self._skip_array(depth)

    def _skip_array(self, depth: int) -> None:
        """Arrays are vocabularies and such: nothing here needs what is in them."""
        kind = self.number(_U32)
        items = self.count("array items", ARRAY_MAX)
        if kind in _SCALARS:
            self.skip(items * _SCALARS[kind].size)
        else:
            for _ in range(items):
                if kind == _TEXT:
                    self.skip(self.count("bytes of text", TEXT_BYTES_MAX))
                else:
                    self.value(kind, depth + 1)

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > self.size:
            raise _Damaged(f"it ends within its header, at byte {self.size}")
        self._file.seek(count, 1)


def _contents(reader: _Reader) -> tuple[dict[str, Any], int]:
    if reader.size < len(MAGIC) or reader.take(4) != MAGIC:
        raise _Damaged("it does not begin as a GGUF file does")
    version = reader.number(_U32)
    if version not in VERSIONS:
        raise _Damaged(f"its format version is {version}, and {VERSIONS[0]} to {VERSIONS[1]} can be read")
    tensor_count = reader.count("tensors", TENSORS_MAX)
    metadata = _metadata(reader, reader.count("metadata entries", PAIRS_MAX))
    return metadata, _parameters(reader, tensor_count, metadata)


def _header(metadata: dict[str, Any], parameters: int) -> GgufHeader:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise _Damaged("it does not name its architecture")
    context = _whole(metadata, f"{architecture}.context_length")
    if context is None:
        raise _Damaged("it does not say its context length")
    return GgufHeader(
        architecture=architecture, context_tokens=context, parameters=parameters, name=_text(metadata, "general.name"),
        licence=_text(metadata, "general.license"), chat_template=_text(metadata, "tokenizer.chat_template") is not None,
        kv_values=_kv_values(metadata, architecture),
    )


def _kv_values(metadata: dict[str, Any], architecture: str) -> int | None:
    """Keys and values of each layer and KV head. Not covered: models whose layers differ in that (the file has an array)."""

    def of(key: str) -> int | None:
        return _whole(metadata, f"{architecture}.{key}")

    layers, heads, width = of("block_count"), of("attention.head_count"), of("embedding_length")
    if layers is None or heads is None or width is None:
        return None
    grouped = f"{architecture}.attention.head_count_kv" in metadata
    kv_heads = of("attention.head_count_kv") if grouped else heads
    if kv_heads is None:
        return None
    per_head = width // heads
    return layers * kv_heads * ((of("attention.key_length") or per_head) + (of("attention.value_length") or per_head))


def _whole(metadata: dict[str, Any], key: str) -> int | None:
    """A number of at least 1, None where there is none."""
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def _text(metadata: dict[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) and value else None


def _metadata(reader: _Reader, pairs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.text()
        found[key] = reader.value(reader.number(_U32))
    return found


def _parameters(reader: _Reader, tensors: int, metadata: dict[str, Any]) -> int:
    """How many numbers all tensors have together, once it is sure that the file reaches to the end of each."""
    total = 0
    reach = 0
    for _ in range(tensors):
        name = reader.text()
        dimensions = reader.number(_U32)
        if not 1 <= dimensions <= DIMENSIONS_MAX:
            raise _Damaged(f"its tensor {name[:80]!r} has {dimensions} dimensions")
        values = math.prod(reader.number(_U64) for _ in range(dimensions))
        per_block, block_bytes = _BLOCKS.get(reader.number(_U32), (values or 1, 1))
        reach = max(reach, reader.number(_U64) + -(-values // per_block) * block_bytes)
        total += values
    alignment = metadata.get("general.alignment", ALIGNMENT_DEFAULT)
    if not isinstance(alignment, int) or alignment < 1:
        raise _Damaged(f"its alignment is {alignment!r}")
    needed = -(-reader.at // alignment) * alignment + reach
    if tensors and reader.size < needed:
        raise _Damaged(f"it has {reader.size} bytes and its tensors reach to byte {needed}: it was cut short")
    return total
