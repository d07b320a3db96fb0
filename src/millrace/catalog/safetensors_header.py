"""What a folder with config.json and safetensors says of its model, without reading the weights.

The format (huggingface/safetensors, README): eight bytes with the length of a JSON object, the object, the tensors. Every
length is a claim and is bounded; a file that is cut short is noticed.
"""

import math
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal

HEADER_BYTES_MAX: Final = 100_000_000
"""What the format itself allows."""

CONFIG_BYTES_MAX: Final = 16 << 20

_CONTEXT_KEYS: Final = ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length")
_LICENCE: Final = re.compile(r"^license:\s*[\"']?([A-Za-z0-9._+-]{1,100})", re.MULTILINE)


class FolderHeader(Struct, frozen=True, kw_only=True):
    """What a folder says of its model. `parameters` is counted from the tensors."""

    architecture: str
    context_tokens: int
    parameters: int
    licence: str | None
    chat_template: bool
    kv_values: int | None
    """Numbers in the KV cache for each token of context, where config.json says what they come from."""


class TensorInfo(Struct, frozen=True):
    """What the header claims of one tensor. Its offsets count from the first byte after the header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class TensorFile(NamedTuple):
    """The header of one file: `begin` is the first byte after it, `size` that of the whole file."""

    tensors: dict[str, TensorInfo]
    begin: int
    size: int


def read_folder(folder: Path) -> FolderHeader:
    """Raises BAD_SETTING, naming the file, for what is missing, cut short or not what it claims to be."""
    config = _object(folder / "config.json")
    architecture, context = _architecture(config), _first(config, _CONTEXT_KEYS)
    if architecture is None or context is None:
        raise _refusal(folder / "config.json", "it does not say the model's architecture and context")
    tensors = sorted(folder.glob("*.safetensors"))
    if not tensors:
        raise _refusal(folder, "it has no safetensors")
    return FolderHeader(
        architecture=architecture, context_tokens=context, parameters=sum(_parameters(file) for file in tensors),
        licence=licence_of(folder), chat_template=_has_template(folder), kv_values=_kv_values(config),
    )  # fmt: skip


def check_file(file: Path) -> None:
    """Raises BAD_SETTING for one file that is cut short or not what it claims to be."""
    _parameters(file)


def read_tensor_file(file: Path) -> TensorFile:
    """The header of a file of any length. Raises BAD_SETTING where that itself is damaged; what it claims is not checked."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(0)
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > min(HEADER_BYTES_MAX, size - 8):
                raise _refusal(file, "it ends within its header, or is no safetensors file")
            header = msgspec.json.decode(opened.read(length), type=dict[str, Any])
        header.pop("__metadata__", None)
        return TensorFile(msgspec.convert(header, dict[str, TensorInfo]), 8 + length, size)
    except OSError as error:
        raise _refusal(file, f"it cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise _refusal(file, f"its header is damaged ({error})") from None


def licence_of(folder: Path) -> str | None:
    """What the model card, README.md, says before its text."""
    try:
        card = (folder / "README.md").read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    head = card.split("\n---", 1)[0] if card.startswith("---") else ""
    found = _LICENCE.search(head)
    return found[1] if found else None


def _architecture(config: dict[str, Any]) -> str | None:
    kind = config.get("model_type")
    if isinstance(kind, str) and kind:
        return kind
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None


def _kv_values(config: dict[str, Any]) -> int | None:
    layers, heads, width = (
        _first(config, (key,)) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size")
    )
    if layers is None or heads is None or width is None:
        return None
    per_head = _first(config, ("head_dim",)) or width // heads
    return 2 * layers * (_first(config, ("num_key_value_heads",)) or heads) * per_head


def _first(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first of these that is a number of at least 1; also of the text part of a model that sees pictures."""
    inner = config.get("text_config")
    places = (config, inner) if isinstance(inner, dict) else (config,)
    values = (place.get(key) for place in places for key in keys)
    return next((value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 1), None)


def _has_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    tokenizer = folder / "tokenizer_config.json"
    return tokenizer.is_file() and bool(_object(tokenizer).get("chat_template"))


def _parameters(file: Path) -> int:
    """How many numbers are in a file that is as long as it says."""
    tensors, begin, size = read_tensor_file(file)
    needed = begin + max((info.data_offsets[1] for info in tensors.values()), default=0)
    if size < needed:
        raise _refusal(file, f"it has {size} bytes and its tensors reach to byte {needed}: it was cut short")
    return sum(math.prod(info.shape) for info in tensors.values())


def _object(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > CONFIG_BYTES_MAX:
            raise _refusal(file, f"it is larger than {CONFIG_BYTES_MAX} bytes")
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise _refusal(file, f"it cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise _refusal(file, f"it is not a JSON object ({error})") from None


def _refusal(file: Path, what: str) -> Refusal:
    return Refusal(Reason.BAD_SETTING, f"{file} is not usable: {what}")
