"""A LoRA adapter of PEFT as a GGUF that llama.cpp puts onto its base.

llama.cpp computes W·x + (alpha / rank) · B·A·x, as PEFT does; so A and B go over as they are, but for the rows of B that
llama's Q and K have in another order. What PEFT can do beyond plain LoRA (DoRA, rank-stabilised, ranks that differ, biases,
retrained modules) is refused by name. Checked against the base: architecture, and name and shape of every matrix.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.gguf_header import read_header
from millrace.conversion import extra
from millrace.conversion.checkpoint import Tensor, read_object, read_rows, read_tensors
from millrace.conversion.config import FORMS
from millrace.conversion.names import gguf_name, rotated_heads
from millrace.conversion.order import rotate_rows
from millrace.conversion.writer import Plan, write

if TYPE_CHECKING:
    from millrace.conversion.checkpoint import Floats

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"

HARMLESS: Final = frozenset(
    ["alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out", "inference_mode",
     "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "loftq_config",
     "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "target_modules",
     "task_type", "runtime_config", "ensure_weight_tying"]
)  # fmt: skip
"""How it was trained and where; and what is looked at on its own below."""

_EMBEDDINGS: Final = "token_embd.weight"
"""llama.cpp has their two halves the other way round, and PEFT names them otherwise."""

_NAME: Final = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


class _Base(Struct, frozen=True):
    """What the base's file says."""

    architecture: str
    heads: int
    kv_heads: int
    shapes: Mapping[str, tuple[int, ...]]
    """Rows and columns by GGUF name."""


class _Pair(Struct, frozen=True):
    """The two matrices that change one of the base's."""

    name: str
    a: Tensor
    b: Tensor


def convert_adapter(folder: Path, base: Path, to: Path) -> int:
    """Write the adapter of a PEFT folder for a base in GGUF; how many matrices it changes.

    The file appears whole or not at all. Raises BAD_SETTING, naming file, setting or module, for what llama.cpp would not
    compute as PEFT does.
    """
    extra.check()
    alpha = _alpha(folder / CONFIG)
    facts = _base(base)
    pairs = _pairs(read_tensors(folder / WEIGHTS), facts)

    def describe(writer: Any) -> None:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        writer.add_name(to.stem)

    plans = [plan for pair in pairs for plan in _plans(pair, facts)]
    write(to, facts.architecture, describe, plans, lambda _: None)
    return len(pairs)


def _alpha(file: Path) -> float:
    """What the changes are multiplied with, before it is divided by the rank."""
    raw = read_object(file)
    if raw.get("peft_type") != "LORA":
        _refuse(file, f"peft_type is {raw.get('peft_type')!r}, and only LORA can be served")
    if raw.get("bias", "none") != "none":
        _refuse(file, f"bias is {raw['bias']!r}, and trained biases have no place in an adapter of llama.cpp; train without")
    for key in ("alpha_pattern", "rank_pattern", "fan_in_fan_out", *sorted(set(raw) - HARMLESS)):
        if raw.get(key) not in (None, False, [], {}, ""):
            _refuse(file, f"{key!r} is set, which llama.cpp would not compute; train a plain LoRA without it")
    alpha = raw.get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < float("inf"):
        _refuse(file, f"lora_alpha is {alpha!r}: expected a number above 0")
    return float(alpha)


def _base(path: Path) -> _Base:
    import gguf

    architecture = read_header(path).architecture
    if architecture not in {form.architecture for form in FORMS.values()}:
        _refuse(path, f"the base is of the architecture {architecture}, for which adapters cannot be converted")
    reader = gguf.GGUFReader(path)

    def number(key: str) -> int:
        field = reader.get_field(f"{architecture}.attention.{key}")
        if field is None:
            _refuse(path, f"it does not say {key}")
        return int(field.contents())

    shapes = {tensor.name: tuple(int(side) for side in reversed(tensor.shape)) for tensor in reader.tensors}
    return _Base(architecture, number("head_count"), number("head_count_kv"), shapes)


def _pairs(tensors: Mapping[str, Tensor], base: _Base) -> list[_Pair]:
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found = _NAME.fullmatch(name)
        known = gguf_name(f"{found[1]}.weight") if found else None
        if found is None or known in (None, _EMBEDDINGS) or len(tensor.shape) != 2:
            _refuse(tensor.file, f"{name} is nothing that an adapter of llama.cpp can change; train only linear modules")
        halves.setdefault(known, {})[found[2]] = tensor
    if not halves:
        raise Refusal(Reason.BAD_SETTING, "the adapter is empty: it changes no module of the base")
    return [_pair(name, half, base) for name, half in sorted(halves.items())]


def _pair(name: str, half: Mapping[str, Tensor], base: _Base) -> _Pair:
    some = next(iter(half.values()))
    if len(half) != 2:
        _refuse(some.file, f"of the pair for {name} one half is missing")
    shape = base.shapes.get(name)
    if shape is None:
        _refuse(some.file, f"the base has no {name}: it is another model, or its embeddings are tied")
    a, b = half["A"], half["B"]
    if (b.shape[0], a.shape[1]) != shape or a.shape[0] != b.shape[1]:
        _refuse(some.file, f"{name} is {shape} in the base, and the adapter is made for {(b.shape[0], a.shape[1])}")
    return _Pair(name, a, b)


def _plans(pair: _Pair, base: _Base) -> list[Plan]:
    heads = rotated_heads(base.architecture, pair.name, base.heads, base.kv_heads)

    def rows_of_b() -> "Floats":
        rows = read_rows(pair.b, 0, pair.b.rows)
        return rows if heads is None else rotate_rows(rows, heads)

    return [
        Plan(f"{pair.name}.lora_a", pair.a.shape, "F32", lambda: iter((read_rows(pair.a, 0, pair.a.rows),))),
        Plan(f"{pair.name}.lora_b", pair.b.shape, "F32", lambda: iter((rows_of_b(),))),
    ]


def _refuse(file: Path, what: str) -> NoReturn:
    raise Refusal(Reason.BAD_SETTING, f"{file} cannot be converted: {what}")
