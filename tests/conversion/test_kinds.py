"""Which type each tensor gets: llama.cpp's own mixture."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.conversion.kinds import Mixture, parse_kind

WIDE = (512, 512)


def test_small_tensors_stay_as_they_are() -> None:
    """Vectors, norms, biases and routers in float32, whatever the kind."""
    mixture = Mixture("q4_k_m", 8, 0, tied=False)
    for name, shape in (
        ("blk.0.attn_norm.weight", (512,)), ("blk.0.attn_q.bias", (512,)), ("blk.0.ffn_gate_inp.weight", WIDE),
        ("blk.0.attn_q_norm.weight", (512,)),
    ):  # fmt: skip
        assert mixture.of(name, shape) == "F32"
    assert mixture.fallbacks == {}


def test_the_mixture_of_four_bits() -> None:
    """V and the way down are finer in the first and last eighth of the layers and every third between; so is the output."""
    mixture = Mixture("q4_k_m", 16, 0, tied=False)
    finer = {layer for layer in range(16) if mixture.of(f"blk.{layer}.attn_v.weight", WIDE) == "Q6_K"}
    assert finer == {0, 1, 4, 7, 10, 13, 14, 15}
    assert finer == {layer for layer in range(16) if mixture.of(f"blk.{layer}.ffn_down.weight", WIDE) == "Q6_K"}
    assert {mixture.of(f"blk.0.{part}.weight", WIDE) for part in ("attn_q", "attn_k", "attn_output", "ffn_up")} == {"Q4_K"}
    assert (mixture.of("output.weight", WIDE), mixture.of("token_embd.weight", WIDE)) == ("Q6_K", "Q4_K")


def test_tied_embeddings_are_the_output_too() -> None:
    """So they are as fine."""
    assert Mixture("q4_k_m", 16, 0, tied=True).of("token_embd.weight", WIDE) == "Q6_K"


def test_attention_that_many_share() -> None:
    """With eight experts attention is finer, as it is with the V of a model of 80 layers."""
    shared = Mixture("q4_k_m", 16, 8, tied=False)
    found = [shared.of(f"blk.3.{part}.weight", WIDE) for part in ("attn_v", "attn_k", "attn_output", "attn_q")]
    assert found == ["Q8_0", "Q8_0", "Q5_K", "Q4_K"]
    assert shared.of("blk.3.ffn_down_exps.weight", (8, 512, 512)) == "Q4_K"
    assert Mixture("q4_k_m", 80, 0, tied=False).of("blk.11.attn_v.weight", WIDE) == "Q5_K"


@pytest.mark.parametrize(("width", "kind"), [(512, "Q4_K"), (288, "Q5_0"), (40, "F16")])
def test_rows_that_fill_no_block(width: int, kind: str) -> None:
    """The next larger type that fits, and it is remembered."""
    mixture = Mixture("q4_k_m", 16, 0, tied=False)
    assert mixture.of("blk.0.attn_q.weight", (64, width)) == kind
    assert mixture.fallbacks == ({} if kind == "Q4_K" else {"blk.0.attn_q.weight": kind})


def test_kinds_by_name() -> None:
    """In capitals too; others are refused with those there are."""
    assert parse_kind("Q4_K_M") == "q4_k_m"
    with pytest.raises(Refusal, match="there are f32, f16, bf16, q8_0, q4_k_m") as refused:
        parse_kind("q2_k")
    assert refused.value.reason is Reason.INVALID_REQUEST
