"""config.json as what llama.cpp needs to know of a model. Pure, and strict: what is not understood is refused by its name.

A setting that the conversion does not know could change every answer, so there are two lists: what is read, and what is known
not to matter to the answers (training, caches, versions). All else is refused unless it says nothing (null, false, empty).
"""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from msgspec import Struct

from millrace.base.errors import Reason, Refusal

REMEDY: Final = "use a GGUF that the model's makers publish"

HARMLESS: Final = frozenset(
    ["_name_or_path", "architectures", "attention_dropout", "bos_token_id", "dtype", "embd_pdrop", "eos_token_id",
     "initializer_range", "max_window_layers", "model_type", "output_attentions", "output_hidden_states",
     "output_router_logits", "pad_token_id", "pretraining_tp", "resid_pdrop", "return_dict", "rope_theta",
     "router_aux_loss_coef", "sliding_window", "torch_dtype", "transformers_version", "use_cache", "unsloth_fixed",
     "unsloth_version", "chunk_size_feed_forward", "id2label", "label2id", "problem_type", "tokenizer_class", "task"]
)  # fmt: skip
"""Training, caches, versions; token ids, which the tokenizer's files say; `sliding_window`, which counts only where
`use_sliding_window` or `layer_types` ask for it."""

READ: Final = frozenset(
    ["attention_bias", "decoder_sparse_step", "head_dim", "hidden_act", "hidden_size", "intermediate_size", "layer_types",
     "max_position_embeddings", "mlp_bias", "mlp_only_layers", "moe_intermediate_size", "norm_topk_prob",
     "num_attention_heads", "num_experts", "num_experts_per_tok", "num_hidden_layers", "num_key_value_heads",
     "num_local_experts", "qkv_bias", "rms_norm_eps", "rope_parameters", "rope_scaling",
     "shared_expert_intermediate_size", "tie_word_embeddings", "use_sliding_window", "vocab_size"]
)  # fmt: skip

LENGTH_MAX: Final = 1 << 31
"""No size of a model is larger."""


class Form(Struct, frozen=True, kw_only=True):
    """What an architecture fixes, whatever its configuration says."""

    architecture: str
    """As GGUF calls it."""
    tied: bool = False
    """Whether embeddings are tied where the configuration does not say."""
    qkv_bias: bool = False
    head_norms: bool = False
    experts: bool = False
    normed_experts: bool | None = None
    """Whether llama.cpp makes the chosen experts' weights sum to one."""


FORMS: Final = {
    "Qwen2ForCausalLM": Form(architecture="qwen2", qkv_bias=True),
    "Qwen3ForCausalLM": Form(architecture="qwen3", head_norms=True),
    "Qwen2MoeForCausalLM": Form(architecture="qwen2moe", qkv_bias=True, experts=True, normed_experts=False),
    "Qwen3MoeForCausalLM": Form(architecture="qwen3moe", head_norms=True, experts=True, normed_experts=True),
    "LlamaForCausalLM": Form(architecture="llama"),
}


class RopeScaling(Struct, frozen=True, kw_only=True):
    """Llama 3's: long waves are stretched by `factor`, short ones stay, those between are blended."""

    factor: float
    low: float
    high: float
    original_context: int


class Experts(Struct, frozen=True, kw_only=True):
    count: int
    used: int
    width: int
    shared_width: int | None


class Config(Struct, frozen=True, kw_only=True):
    """A model's sizes and ways."""

    architecture: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head: int
    context: int
    vocabulary: int
    epsilon: float
    rope_base: float
    rope_scaling: RopeScaling | None
    tied: bool
    qkv_bias: bool
    output_bias: bool
    feed_forward_bias: bool
    head_norms: bool
    experts: Experts | None


def parse_config(raw: Mapping[str, Any]) -> Config:
    """Raises BAD_SETTING, naming the setting and what to do, for a model that llama.cpp would not compute as it is meant."""
    form = _form(raw)
    _refuse_unknown(raw)
    _refuse_windows(raw)
    if raw.get("hidden_act", "silu") != "silu":
        _refuse(f"hidden_act is {raw['hidden_act']!r}, and only silu is known; {REMEDY}")
    heads, hidden = _size(raw, "num_attention_heads"), _size(raw, "hidden_size")
    attention_bias, mlp_bias = _flag(raw, "attention_bias"), _flag(raw, "mlp_bias")
    if (attention_bias or mlp_bias) and form.architecture != "llama":
        _refuse(f"attention_bias or mlp_bias is set, which llama.cpp has no place for in {form.architecture}; {REMEDY}")
    if form.qkv_bias and not _flag(raw, "qkv_bias", default=True):
        _refuse(f"qkv_bias is false, which llama.cpp does not know of {form.architecture}; {REMEDY}")
    base, scaling = _rope(raw, form)
    return Config(
        architecture=form.architecture, layers=_size(raw, "num_hidden_layers"), hidden=hidden,
        feed_forward=_size(raw, "intermediate_size"), heads=heads,
        kv_heads=_optional_size(raw, "num_key_value_heads") or heads, head=_head(raw, hidden, heads),
        context=_size(raw, "max_position_embeddings"), vocabulary=_size(raw, "vocab_size"),
        epsilon=_number(raw, "rms_norm_eps", 1e-6), rope_base=base, rope_scaling=scaling,
        tied=_flag(raw, "tie_word_embeddings", default=form.tied), qkv_bias=form.qkv_bias or attention_bias,
        output_bias=attention_bias, feed_forward_bias=mlp_bias, head_norms=form.head_norms,
        experts=_experts(raw, form) if form.experts else None,
    )  # fmt: skip


def _form(raw: Mapping[str, Any]) -> Form:
    if "quantization_config" in raw or "compression_config" in raw:
        given = raw.get("quantization_config") or raw.get("compression_config") or {}
        method = given.get("quant_method", "an unknown method") if isinstance(given, dict) else "an unknown method"
        _refuse(f"the checkpoint is quantised already, by {method}; convert from the original weights, in BF16, F16 or F32")
    named = raw.get("architectures")
    name = named[0] if isinstance(named, list) and len(named) == 1 else None
    if not isinstance(name, str) or name not in FORMS:
        said = "none" if name is None else repr(name)
        _refuse(f"its architecture is {said}, and those that can be converted are {', '.join(sorted(FORMS))}; {REMEDY}")
    return FORMS[name]


def _refuse_unknown(raw: Mapping[str, Any]) -> None:
    for key in sorted(set(raw) - HARMLESS - READ):
        if raw[key] not in (None, False, [], {}, ""):
            _refuse(
                f"{key!r} is a setting that the conversion does not know and that could change every answer; {REMEDY}, or take "
                "it out of config.json if you know that it does not matter"
            )


def _refuse_windows(raw: Mapping[str, Any]) -> None:
    kinds = raw.get("layer_types") or []
    strange = sorted({str(kind) for kind in kinds} - {"full_attention"})
    if strange:
        _refuse(f"layer_types has {strange[0]!r}, and only full attention is known; {REMEDY}")
    if _flag(raw, "use_sliding_window"):
        _refuse(f"use_sliding_window is true: its attention is limited to a window, which is not known; {REMEDY}")


def _rope(raw: Mapping[str, Any], form: Form) -> tuple[float, RopeScaling | None]:
    """The base of the rotation and how it is scaled; transformers wrote this in two ways over time."""
    given = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(given, dict):
        _refuse("rope_parameters is not an object; correct config.json")
    base = _number({"rope_theta": given.get("rope_theta", raw.get("rope_theta"))}, "rope_theta", 10_000.0)
    kind = given.get("rope_type", given.get("type", "default"))
    known = {"rope_theta", "rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
             "original_max_position_embeddings"}  # fmt: skip
    strange = sorted(key for key in set(given) - known if given[key] not in (None, False))
    if strange:
        _refuse(f"rope_parameters has {strange[0]!r}, which is not known; {REMEDY}")
    if kind == "default":
        return base, None
    if kind != "llama3" or form.architecture != "llama":
        _refuse(
            f"its rotary positions are of the type {kind!r}, which is not known of {form.architecture}; if it only makes the "
            f"context longer, take it out of config.json and use the original context, else {REMEDY}"
        )
    return base, RopeScaling(
        factor=_number(given, "factor"), low=_number(given, "low_freq_factor"), high=_number(given, "high_freq_factor"),
        original_context=_size(given, "original_max_position_embeddings"),
    )  # fmt: skip


def _experts(raw: Mapping[str, Any], form: Form) -> Experts:
    if raw.get("mlp_only_layers") or raw.get("decoder_sparse_step", 1) != 1:
        _refuse(f"only some of its layers have experts (mlp_only_layers, decoder_sparse_step), which is not known; {REMEDY}")
    if _flag(raw, "norm_topk_prob") != form.normed_experts:
        want = str(form.normed_experts).lower()
        _refuse(f"norm_topk_prob is not {want}, as llama.cpp computes every {form.architecture}; {REMEDY}")
    count = _optional_size(raw, "num_experts") or _size(raw, "num_local_experts")
    shared = _size(raw, "shared_expert_intermediate_size") if form.architecture == "qwen2moe" else None
    return Experts(
        count=count, used=_size(raw, "num_experts_per_tok"), width=_size(raw, "moe_intermediate_size"), shared_width=shared
    )


def _head(raw: Mapping[str, Any], hidden: int, heads: int) -> int:
    given = _optional_size(raw, "head_dim")
    if given is None and hidden % heads:
        _refuse(f"hidden_size {hidden} is no multiple of num_attention_heads {heads}, and head_dim is missing")
    head = given or hidden // heads
    if head % 2:
        _refuse(f"head_dim {head} is odd, so it has no rotary positions; {REMEDY}")
    return head


def _size(raw: Mapping[str, Any], key: str) -> int:
    found = _optional_size(raw, key)
    if found is None:
        _refuse(f"{key} is missing; pull the model again, whole")
    return found


def _optional_size(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < LENGTH_MAX:
        _refuse(f"{key} is {value!r}: expected a whole number of at least 1")
    return value


def _number(raw: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = raw.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        _refuse(f"{key} is {value!r}: expected a number above 0")
    return float(value)


def _flag(raw: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    value = raw.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        _refuse(f"{key} is {value!r}: expected true or false")
    return value


def _refuse(what: str) -> NoReturn:
    raise Refusal(Reason.BAD_SETTING, f"config.json of this model: {what}")
