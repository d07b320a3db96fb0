"""config.json: what is understood, and that nothing else is let through."""

from typing import Any

import pytest
from tests.conversion.source import ARCHITECTURES, config_of

from millrace.base.errors import Reason, Refusal
from millrace.conversion.config import Experts, RopeScaling, parse_config


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_is_understood(architecture: str) -> None:
    """Sizes are those of the file, and a head's size follows from them where it is not said."""
    config = parse_config(config_of(architecture))
    assert (config.layers, config.hidden, config.heads, config.kv_heads, config.context) == (2, 64, 4, 2, 256)
    assert config.head == (32 if "Qwen3" in architecture else 16)
    assert config.qkv_bias == ("Qwen2" in architecture or architecture == "LlamaForCausalLM")


def test_llama_3_s_positions() -> None:
    """Both spellings that transformers used give the same."""
    old = config_of("LlamaForCausalLM")
    scaling = RopeScaling(factor=8.0, low=1.0, high=4.0, original_context=64)
    assert parse_config(old).rope_scaling == scaling
    new = old | {"rope_parameters": old["rope_scaling"] | {"rope_theta": 500000.0}}
    del new["rope_scaling"], new["rope_theta"]
    assert (parse_config(new).rope_scaling, parse_config(new).rope_base) == (scaling, 500000.0)


def test_experts() -> None:
    """Their number under either name; a shared one where the architecture has it."""
    assert parse_config(config_of("Qwen2MoeForCausalLM")).experts == Experts(count=3, used=2, width=32, shared_width=64)
    renamed = config_of("Qwen3MoeForCausalLM", num_local_experts=8, num_experts=None)
    assert parse_config(renamed).experts == Experts(count=8, used=2, width=32, shared_width=None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "'MixtralForCausalLM'"),
        ({"architectures": []}, "its architecture is none"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised already, by gptq"),
        ({"quantization_config": {"quant_method": "fp8"}}, "by fp8"),
        ({"quantization_config": {}}, "by an unknown method"),
        ({"use_sliding_window": True}, "use_sliding_window is true"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "'sliding_attention'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "'llama3'"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "'partial_rotary_factor'"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"attention_bias": True}, "no place for in qwen3"),
        ({"logit_scale": 0.5}, "'logit_scale'"),
        ({"tie_word_embeddings": "yes"}, "expected true or false"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"vocab_size": None}, "vocab_size is missing"),
        ({"rms_norm_eps": -1}, "expected a number above 0"),
        ({"head_dim": 33}, "head_dim 33 is odd"),
        ({"head_dim": None, "hidden_size": 66}, "no multiple of num_attention_heads"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    """Never ignored: each would make another model of it."""
    with pytest.raises(Refusal) as refused:
        parse_config(config_of("Qwen3ForCausalLM", **changes))
    assert refused.value.reason is Reason.BAD_SETTING
    assert named in refused.value.sentence


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"norm_topk_prob": False}, "norm_topk_prob is not true"),
        ({"norm_topk_prob": None}, "norm_topk_prob is not true"),
        ({"mlp_only_layers": [0]}, "mlp_only_layers"),
        ({"decoder_sparse_step": 2}, "decoder_sparse_step"),
    ],
)
def test_experts_of_another_kind_are_refused(changes: dict[str, Any], named: str) -> None:
    """llama.cpp computes all layers of an architecture alike, and so must the model."""
    with pytest.raises(Refusal, match=named):
        parse_config(config_of("Qwen3MoeForCausalLM", **changes))


def test_a_setting_that_says_nothing_is_no_reason() -> None:
    """Unknown and null, false or empty: it asks for nothing."""
    assert parse_config(config_of("Qwen3ForCausalLM") | {"novelty": False, "other": None, "third": []}).layers == 2
