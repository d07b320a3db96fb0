"""What each tensor of a checkpoint is called in GGUF, and how many rows and columns it must have. Pure.

The plan is made from the configuration alone and then compared with the files: each tensor there is used once and none is
left, or the conversion is refused by the tensor's name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.conversion.config import Config

WHOLE: Final = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}

PARTS: Final = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}
"""Of a layer: `model.layers.3.self_attn.q_proj.weight` is `blk.3.attn_q.weight`."""

EXPERT_PARTS: Final = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}

ROPE_FACTORS: Final = "rope_freqs.weight"

_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_COMPUTED: Final = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
"""Old checkpoints carry what follows from the configuration."""


class Target(Struct, frozen=True, kw_only=True):
    """One tensor of the GGUF. Several sources are the experts of a layer, stacked; none: it is computed."""

    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    source_shape: tuple[int, ...]
    heads: int | None = None
    """How many heads' rows are put into llama.cpp's order of rotation; None: rows stay as they are."""


def gguf_name(source: str) -> str | None:
    """What a tensor of one source is called in GGUF; None for one that is not known."""
    if source in WHOLE:
        return WHOLE[source]
    found = _LAYER.fullmatch(source)
    if found is None or found[2] not in PARTS:
        return None
    return f"blk.{found[1]}.{PARTS[found[2]]}.{found[3]}"


def rotated_heads(architecture: str, name: str, heads: int, kv_heads: int) -> int | None:
    """How many heads' rows of this GGUF tensor are in another order than in the checkpoint: llama's Q and K."""
    if architecture != "llama":
        return None
    part = name.split(".")[2] if name.startswith("blk.") else ""
    return {"attn_q": heads, "attn_k": kv_heads}.get(part)


def plan(config: Config) -> list[Target]:
    """Every tensor that the model has."""
    targets = [
        _plain(config, "model.embed_tokens.weight", (config.vocabulary, config.hidden)),
        _plain(config, "model.norm.weight", (config.hidden,)),
    ]
    if not config.tied:
        targets.append(_plain(config, "lm_head.weight", (config.vocabulary, config.hidden)))
    if config.rope_scaling is not None:
        half = config.head // 2
        targets.append(Target(name=ROPE_FACTORS, shape=(half,), sources=(), source_shape=(half,)))
    for layer in range(config.layers):
        targets += _layer(config, layer)
    return targets


def compare(targets: Iterable[Target], there: Mapping[str, tuple[int, ...]], *, tied: bool) -> None:
    """Raises BAD_SETTING, naming the tensor, for one that is missing, has another shape, or is not understood.

    With tied embeddings `lm_head.weight` may be there a second time; transformers does not use it either.
    """
    used = set()
    for target in targets:
        for source in target.sources:
            if source not in there:
                raise _refusal(f"the tensor {source} is missing; pull the model again, whole")
            if there[source] != target.source_shape:
                raise _refusal(f"{source} has the shape {there[source]}, and config.json asks for {target.source_shape}")
            used.add(source)
    left = sorted(set(there) - used - ({"lm_head.weight"} if tied else set()))
    strange = [name for name in left if not _COMPUTED.fullmatch(name)]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise _refusal(
            f"the tensor {strange[0]}{more} has no place in this architecture, so the result would be another model; use a "
            "GGUF that the model's makers publish"
        )


def _layer(config: Config, layer: int) -> Iterator[Target]:
    at = f"model.layers.{layer}."
    hidden, queries, keys = config.hidden, config.heads * config.head, config.kv_heads * config.head
    yield _plain(config, at + "input_layernorm.weight", (hidden,))
    yield _plain(config, at + "post_attention_layernorm.weight", (hidden,))
    for part, rows in (("q", queries), ("k", keys), ("v", keys)):
        yield _plain(config, f"{at}self_attn.{part}_proj.weight", (rows, hidden))
        if config.qkv_bias:
            yield _plain(config, f"{at}self_attn.{part}_proj.bias", (rows,))
    yield _plain(config, at + "self_attn.o_proj.weight", (hidden, queries))
    if config.output_bias:
        yield _plain(config, at + "self_attn.o_proj.bias", (hidden,))
    if config.head_norms:
        yield _plain(config, at + "self_attn.q_norm.weight", (config.head,))
        yield _plain(config, at + "self_attn.k_norm.weight", (config.head,))
    if config.experts is None:
        yield from _feed_forward(config, at + "mlp.", config.feed_forward)
    else:
        yield from _experts(config, layer)


def _feed_forward(config: Config, at: str, width: int) -> Iterator[Target]:
    for part, rows, columns in _matrices(config.hidden, width):
        yield _plain(config, f"{at}{part}.weight", (rows, columns))
        if config.feed_forward_bias:
            yield _plain(config, f"{at}{part}.bias", (rows,))


def _experts(config: Config, layer: int) -> Iterator[Target]:
    experts, at = config.experts, f"model.layers.{layer}.mlp."
    assert experts is not None
    yield _plain(config, at + "gate.weight", (experts.count, config.hidden))
    for part, rows, columns in _matrices(config.hidden, experts.width):
        yield Target(
            name=f"blk.{layer}.{EXPERT_PARTS[part]}.weight", shape=(experts.count, rows, columns),
            sources=tuple(f"{at}experts.{number}.{part}.weight" for number in range(experts.count)),
            source_shape=(rows, columns),
        )  # fmt: skip
    if experts.shared_width is not None:
        yield from _feed_forward(config, at + "shared_expert.", experts.shared_width)
        gate = at + "shared_expert_gate.weight"
        name = gguf_name(gate)
        assert name is not None
        yield Target(name=name, shape=(config.hidden,), sources=(gate,), source_shape=(1, config.hidden))


def _matrices(hidden: int, width: int) -> tuple[tuple[str, int, int], ...]:
    return ("gate_proj", width, hidden), ("up_proj", width, hidden), ("down_proj", hidden, width)


def _plain(config: Config, source: str, shape: tuple[int, ...]) -> Target:
    name = gguf_name(source)
    assert name is not None
    heads = rotated_heads(config.architecture, name, config.heads, config.kv_heads)
    return Target(name=name, shape=shape, sources=(source,), source_shape=shape, heads=heads)


def _refusal(what: str) -> Refusal:
    return Refusal(Reason.BAD_SETTING, f"the checkpoint cannot be converted: {what}")
