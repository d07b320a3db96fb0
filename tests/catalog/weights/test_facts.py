"""What a model needs to run, and how often it was pulled and served."""

from pathlib import Path

from tests.catalog.gguf import PAIRS, TENSORS, Tensor, gguf, pair
from tests.catalog.weights.shelf import put

from millrace import schema
from millrace.catalog.gguf_header import read_header, read_headers
from millrace.catalog.weights import store
from millrace.catalog.weights.facts import OVERHEAD_BYTES, needs_of, read_facts
from millrace.catalog.weights.weights import Weights

SHAPED = (
    *PAIRS, pair("llama.block_count", 28), pair("llama.attention.head_count", 16), pair("llama.attention.head_count_kv", 8),
    pair("llama.embedding_length", 1024), pair("llama.attention.key_length", 128), pair("llama.attention.value_length", 128),
    pair("general.license", "apache-2.0"), pair("tokenizer.chat_template", "{{ messages }}"),
)  # fmt: skip


def test_a_gguf_says_what_its_cache_takes(tmp_path: Path) -> None:
    """Keys and values of each layer and KV head: 28 × 8 × 256 numbers for each token, as Qwen3-0.6B has them."""
    (tmp_path / "m.gguf").write_bytes(gguf(SHAPED, TENSORS))
    header = read_header(tmp_path / "m.gguf")
    assert (header.kv_values, header.licence, header.chat_template) == (28 * 8 * 256, "apache-2.0", True)


def test_without_lengths_heads_share_the_width(tmp_path: Path) -> None:
    """And without a number of KV heads every head has its own; where layers differ, nothing is claimed."""
    plain = (*PAIRS, pair("llama.block_count", 2), pair("llama.attention.head_count", 4), pair("llama.embedding_length", 32))
    (tmp_path / "m.gguf").write_bytes(gguf(plain, TENSORS))
    assert read_header(tmp_path / "m.gguf").kv_values == 2 * 4 * (8 + 8)
    (tmp_path / "m.gguf").write_bytes(gguf((*plain, pair("llama.attention.head_count_kv", [4, 2])), TENSORS))
    assert read_header(tmp_path / "m.gguf").kv_values is None


def test_a_split_model_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    """The first part says what it is; the others have tensors only."""
    (tmp_path / "a").write_bytes(gguf(PAIRS, [Tensor("a", (8,), 0, 32)]))
    (tmp_path / "b").write_bytes(gguf([pair("split.no", 1)], [Tensor("b", (24,), 0, 96)]))
    header = read_headers([tmp_path / "a", tmp_path / "b"])
    assert (header.parameters, header.architecture) == (32, "llama")


def test_a_licence_may_stand_in_the_card(tmp_path: Path) -> None:
    """Where the file itself says none."""
    (tmp_path / "m.gguf").write_bytes(gguf(PAIRS, TENSORS))
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nlicense: no\n")
    assert read_facts(tmp_path, ("m.gguf",)).licence == "mit"


def test_what_serving_takes(tmp_path: Path) -> None:
    """Weights without papers, two bytes for each number of the cache, and some for the program."""
    manifest = put(Weights(tmp_path / "models"), "m", {"m.gguf": b"x" * 1000, "README.md": b"yy"}, kv_values=10)
    needs = needs_of(manifest, context_tokens=100, slots=4)
    assert (needs.weights, needs.kv_cache, needs.total) == (1000, 8000, 9000 + OVERHEAD_BYTES)
    unknown = put(Weights(tmp_path / "models"), "n", {"m.gguf": b"x"}, kv_values=None)
    assert (needs_of(unknown, 100, 4).kv_cache, needs_of(unknown, 100, 4).total) == (None, 1 + OVERHEAD_BYTES)


def test_pulls_are_counted_over_days(tmp_path: Path) -> None:
    """Each day has its row; a model's sum is what the list shows."""
    day = 86_400 * 10**9
    database = schema.open_database(tmp_path / "millrace.db")
    try:
        for now in (0, 1, day):
            database.write_now(lambda tx, now=now: store.count_pull(tx, "m", now))  # type: ignore[misc]  # bound now
        database.write_now(lambda tx: store.count_pull(tx, "n", day))
        assert database.read(store.pulls) == {"m": 3, "n": 1}
    finally:
        database.close()
