"""A whole conversion, and everything that must not happen in one."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tests.conversion.source import ARCHITECTURES, Floats, config_of, safetensors, tensors_of, write_source

from millrace.base.errors import Reason, Refusal
from millrace.catalog.gguf_header import read_header
from millrace.conversion import convert as conversion
from millrace.conversion.checkpoint import read_checkpoint
from millrace.conversion.convert import convert
from millrace.conversion.kinds import KINDS, Kind
from millrace.conversion.numbers import BLOCKS


def quiet(_: int) -> None:
    """Nobody looks at the progress."""


def values(path: Path) -> dict[str, Floats]:
    """Every tensor of a file in float32, with the rows of a matrix."""
    found = {}
    for one in gguf.GGUFReader(path).tensors:
        shape = tuple(int(side) for side in reversed(one.shape))
        found[one.name] = gguf.quants.dequantize(np.asarray(one.data), one.tensor_type).reshape(shape)
    return found


def head(path: Path, key: str) -> Any:
    field = gguf.GGUFReader(path).get_field(key)
    return None if field is None else field.contents()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_value_is_there(architecture: str, tmp_path: Path) -> None:
    """In float32 each number of the source is in the file, and the file is what a catalogue can read."""
    config = config_of(architecture)
    tensors = tensors_of(config)
    made = convert(write_source(tmp_path / "source", config, tensors), tmp_path / "m.gguf", "f32", quiet)
    there = values(made.path)
    computed = {"rope_freqs.weight"} if architecture == "LlamaForCausalLM" else set()
    assert len(there) == made.tensors
    assert sum(value.size for name, value in there.items() if name not in computed) == sum(v.size for v in tensors.values())
    everything = np.sort(np.concatenate([value.ravel() for name, value in there.items() if name not in computed]))
    assert np.array_equal(everything, np.sort(np.concatenate([value.ravel() for value in tensors.values()])))
    assert np.array_equal(there["token_embd.weight"], tensors["model.embed_tokens.weight"])
    header = read_header(made.path)
    assert (header.architecture, header.context_tokens, header.chat_template) == (made.architecture, 256, True)


def test_what_the_head_says(tmp_path: Path) -> None:
    """Sizes, positions, words and what ends an answer."""
    made = convert(write_source(tmp_path / "source", config_of("Qwen3ForCausalLM")), tmp_path / "m.gguf", "q8_0", quiet)
    said = {key: head(made.path, f"qwen3.{key}") for key in ("block_count", "attention.head_count_kv", "attention.key_length")}
    assert said == {"block_count": 2, "attention.head_count_kv": 2, "attention.key_length": 32}
    words = {key: head(made.path, f"tokenizer.ggml.{key}") for key in ("pre", "eos_token_id", "eot_token_id", "add_bos_token")}
    assert words == {"pre": "qwen2", "eos_token_id": 258, "eot_token_id": 256, "add_bos_token": False}
    assert (head(made.path, "general.file_type"), head(made.path, "general.name")) == (int(gguf.LlamaFileType.MOSTLY_Q8_0), "m")


def test_llama_s_heads_in_llama_cpp_s_order(tmp_path: Path) -> None:
    """Within a head of 16 rows, the first of each half become neighbours; K has heads of its own."""
    config = config_of("LlamaForCausalLM")
    tensors = tensors_of(config)
    there = values(convert(write_source(tmp_path / "source", config, tensors), tmp_path / "m.gguf", "f32", quiet).path)
    order = [head * 16 + place for head in range(2) for pair in range(8) for place in (pair, pair + 8)]
    key = "model.layers.1.self_attn.k_proj"
    assert np.array_equal(there["blk.1.attn_k.weight"], tensors[f"{key}.weight"][order])
    assert np.array_equal(there["blk.1.attn_k.bias"], tensors[f"{key}.bias"][order])
    assert np.array_equal(there["blk.1.attn_v.weight"], tensors["model.layers.1.self_attn.v_proj.weight"])


def test_long_waves_are_stretched(tmp_path: Path) -> None:
    """Llama 3's positions: short waves as they are, long ones by the factor, those between blended."""
    made = convert(write_source(tmp_path / "source", config_of("LlamaForCausalLM")), tmp_path / "m.gguf", "q8_0", quiet)
    factors = values(made.path)["rope_freqs.weight"]
    assert (factors[0], factors[-1], len(factors)) == (1.0, 8.0, 8)
    assert all(np.diff(factors) >= 0)
    assert any(1 < factor < 8 for factor in factors)


@pytest.mark.parametrize("kind", KINDS)
def test_how_near_each_kind_stays(kind: Kind, tmp_path: Path) -> None:
    """The mean error of a matrix, as a part of its values: nought, and up to six in a hundred with four bits."""
    bound = {"f32": 0, "f16": 0.0005, "bf16": 0.003, "q8_0": 0.006, "q4_k_m": 0.08}[kind]
    config = config_of("Qwen3ForCausalLM", hidden_size=256, intermediate_size=256, head_dim=64)
    tensors = tensors_of(config)
    made = convert(write_source(tmp_path / "source", config, tensors), tmp_path / "m.gguf", kind, quiet)
    assert made.fallbacks == {}
    there = values(made.path)
    for source, name in (("mlp.down_proj", "ffn_down"), ("self_attn.q_proj", "attn_q")):
        value, was = there[f"blk.0.{name}.weight"], tensors[f"model.layers.0.{source}.weight"]
        assert np.sqrt(((value - was) ** 2).mean()) <= bound * np.sqrt((was**2).mean())


def test_rows_that_fill_no_block_are_told_of(tmp_path: Path) -> None:
    """They get the next larger type that fits, as llama.cpp does, and the result names them."""
    made = convert(write_source(tmp_path / "source", config_of("Qwen3ForCausalLM")), tmp_path / "m.gguf", "q4_k_m", quiet)
    assert made.fallbacks["blk.0.attn_q.weight"] == "Q5_0"
    assert made.fallbacks["token_embd.weight"] == "Q8_0"
    odd = config_of("Qwen3ForCausalLM", hidden_size=40, intermediate_size=72)
    made = convert(write_source(tmp_path / "odd", odd), tmp_path / "odd.gguf", "q8_0", quiet)
    assert set(made.fallbacks.values()) == {"F16"}


def test_bfloat16_is_read_exactly(tmp_path: Path) -> None:
    """And written as it was."""
    config = config_of("Qwen3ForCausalLM")
    source = write_source(tmp_path / "source", config, kind="BF16")
    there = values(convert(source, tmp_path / "m.gguf", "bf16", quiet).path)
    cut = (tensors_of(config)["model.embed_tokens.weight"].view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert np.array_equal(there["token_embd.weight"], cut)


def test_memory_is_bounded_whatever_the_tensor(tmp_path: Path) -> None:
    """A matrix of 80 MB in float32 goes through in pieces of 16 MB: no more than four of them are held at once."""
    width, inner, piece = 1024, 20_000, 4 * conversion.PIECE_VALUES
    job = conversion.Conversion(_large(tmp_path / "source", width, inner), "f16")
    done: list[int] = []
    tracemalloc.start()
    try:
        job.run(tmp_path / "m.gguf", "m", done.append)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(done) == job.size > 3 * width * inner * 2
    assert most < 4 * piece < width * inner * 4


def _large(folder: Path, width: int, inner: int) -> Path:
    """A checkpoint of one layer, whose feed forward is a hole in its file: noughts that the disk does not hold."""
    config = config_of("Qwen3ForCausalLM", hidden_size=width, intermediate_size=inner, num_hidden_layers=1)
    small = {name: value for name, value in tensors_of(config | {"intermediate_size": 1}).items() if ".mlp." not in name}
    source = write_source(folder, config, small)
    raw = (source / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    head, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    end = len(data)
    for part, shape in (("gate", [inner, width]), ("up", [inner, width]), ("down", [width, inner])):
        begin, end = end, end + width * inner * 2
        name = f"model.layers.0.mlp.{part}_proj.weight"
        head[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(head).encode()
    with (source / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)
        file.truncate(8 + len(text) + end)
    return source


def test_a_torn_result_never_appears(tmp_path: Path) -> None:
    """A conversion that ends in the middle leaves nothing; a file that is there is not written over."""
    source = write_source(tmp_path / "source", config_of("Qwen3ForCausalLM"))

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out" / "m.gguf", "q8_0", interrupted)
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out" / "m.gguf").write_bytes(b"mine")
    with pytest.raises(Refusal, match="is there already") as refused:
        convert(source, tmp_path / "out" / "m.gguf", "q8_0", quiet)
    assert refused.value.reason is Reason.CONFLICT


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(bad: float, tmp_path: Path) -> None:
    """A damaged or diverged model is told of by the tensor's name."""
    config = config_of("Qwen3ForCausalLM")
    tensors = tensors_of(config)
    tensors["model.norm.weight"][3] = bad
    with pytest.raises(Refusal, match=r"model\.norm\.weight has values that are no numbers"):
        convert(write_source(tmp_path / "source", config, tensors), tmp_path / "m.gguf", "f16", quiet)
    assert not (tmp_path / "m.gguf").exists()


def test_files_that_are_cut_short_or_of_another_type(tmp_path: Path) -> None:
    """Each is refused by its name before anything is written."""
    source = write_source(tmp_path / "source", config_of("Qwen3ForCausalLM"))
    file = source / "model.safetensors"
    whole = file.read_bytes()
    for raw, named in (
        (whole[:-1], "does not lie whole within the file"),
        (whole[:100], "ends within its header"),
        (whole.replace(b'"F32"', b'"I32"', 1), "numbers of the type I32"),
        (b"", "ends within its header"),
    ):
        file.write_bytes(raw)
        with pytest.raises(Refusal) as refused:
            convert(source, tmp_path / "m.gguf", "f16", quiet)
        assert named in refused.value.sentence
    file.unlink()
    with pytest.raises(Refusal, match="cannot be read"):
        convert(source, tmp_path / "m.gguf", "f16", quiet)


def test_several_files_with_an_index(tmp_path: Path) -> None:
    """Each tensor is taken from the file that the index names; an index that leads elsewhere or is wrong is refused."""
    config = config_of("Qwen3ForCausalLM")
    tensors = tensors_of(config)
    source = write_source(tmp_path / "source", config, {})
    (source / "model.safetensors").unlink()
    parts: dict[str, dict[str, Floats]] = {"a.safetensors": {}, "b.safetensors": {}}
    for place, (name, value) in enumerate(tensors.items()):
        parts["ab"[place % 2] + ".safetensors"][name] = value
    for name, part in parts.items():
        (source / name).write_bytes(safetensors(part))
    where = {tensor: name for name, part in parts.items() for tensor in part}
    index = source / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    there = values(convert(source, tmp_path / "m.gguf", "f32", quiet).path)
    assert np.array_equal(there["output_norm.weight"], tensors["model.norm.weight"])
    index.write_text(json.dumps({"weight_map": where | {"model.norm.weight": "../a.safetensors"}}))
    with pytest.raises(Refusal, match="in which file beside it"):
        read_checkpoint(source)
    index.write_text(json.dumps({"weight_map": where | {"another": "a.safetensors"}}))
    with pytest.raises(Refusal, match="lacks the tensor another"):
        read_checkpoint(source)


def test_blocks_are_those_of_gguf() -> None:
    """The sizes with which room is reckoned are the library's."""
    for name, (per_block, size) in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (per_block, size)
