"""Names and shapes: each tensor of a checkpoint is used once, and none is left."""

import pytest
from tests.conversion.source import ARCHITECTURES, config_of

from millrace.base.errors import Refusal
from millrace.conversion.config import parse_config
from millrace.conversion.names import compare, gguf_name, plan


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_tensor_is_used_once(architecture: str) -> None:
    """No two targets share a name or a source, and comparing with exactly these sources finds nothing to say."""
    config = parse_config(config_of(architecture))
    targets = plan(config)
    names = [target.name for target in targets]
    sources = [source for target in targets for source in target.sources]
    assert len(set(names)) == len(names)
    assert len(set(sources)) == len(sources)
    compare(targets, {source: one.source_shape for one in targets for source in one.sources}, tied=config.tied)


def test_one_too_many_one_too_few_and_one_of_another_shape() -> None:
    """Each is refused by the tensor's name."""
    targets = plan(parse_config(config_of("Qwen3ForCausalLM")))
    there = {source: one.source_shape for one in targets for source in one.sources}
    with pytest.raises(Refusal, match=r"model\.layers\.0\.mlp\.extra\.weight has no place"):
        compare(targets, there | {"model.layers.0.mlp.extra.weight": (4,)}, tied=True)
    with pytest.raises(Refusal, match=r"model\.layers\.0\.self_attn\.q_proj\.bias and 1 more has no place"):
        strange = {f"model.layers.{layer}.self_attn.q_proj.bias": (128,) for layer in range(2)}
        compare(targets, there | strange, tied=True)
    with pytest.raises(Refusal, match=r"model\.norm\.weight is missing"):
        compare(targets, {name: shape for name, shape in there.items() if name != "model.norm.weight"}, tied=True)
    with pytest.raises(Refusal, match=r"model\.norm\.weight has the shape \(63,\), and config\.json asks for \(64,\)"):
        compare(targets, there | {"model.norm.weight": (63,)}, tied=True)


def test_what_follows_from_the_configuration_may_lie_there() -> None:
    """Old checkpoints carry waves of the rotation, and tied ones their embeddings twice; an untied head is used."""
    config = parse_config(config_of("Qwen3ForCausalLM"))
    there = {source: one.source_shape for one in plan(config) for source in one.sources}
    more = {"model.layers.0.self_attn.rotary_emb.inv_freq": (16,), "lm_head.weight": (264, 64)}
    compare(plan(config), there | more, tied=True)
    untied = plan(parse_config(config_of("Qwen3ForCausalLM", tie_word_embeddings=False)))
    assert "output.weight" in {one.name for one in untied}
    with pytest.raises(Refusal, match=r"lm_head\.weight is missing"):
        compare(untied, there, tied=False)


def test_experts_are_stacked() -> None:
    """All experts of a layer are one tensor with three sides, in their order; the shared one's gate is a vector."""
    targets = {one.name: one for one in plan(parse_config(config_of("Qwen2MoeForCausalLM")))}
    stacked = targets["blk.1.ffn_down_exps.weight"]
    assert stacked.shape == (3, 64, 32)
    assert stacked.sources == tuple(f"model.layers.1.mlp.experts.{number}.down_proj.weight" for number in range(3))
    assert targets["blk.0.ffn_gate_inp_shexp.weight"].shape == (64,)


def test_only_llama_s_heads_are_put_in_another_order() -> None:
    """Q and K, weights and biases, by their own number of heads; V and Qwen's stay."""
    llama = {one.name: one.heads for one in plan(parse_config(config_of("LlamaForCausalLM"))) if one.heads}
    assert llama == {f"blk.{layer}.attn_{part}.{what}": heads for layer in range(2) for part, heads in (("q", 4), ("k", 2))
                     for what in ("weight", "bias")}  # fmt: skip
    assert not any(one.heads for one in plan(parse_config(config_of("Qwen3ForCausalLM"))))


def test_names_that_are_none() -> None:
    """A name that is not known has no place, however alike it looks."""
    assert gguf_name("model.layers.3.self_attn.q_proj.weight") == "blk.3.attn_q.weight"
    for name in ("model.layers.3.self_attn.q_proj.scale", "model.layers.x.mlp.gate.weight", "layers.3.mlp.up_proj.weight", ""):
        assert gguf_name(name) is None
