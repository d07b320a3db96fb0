"""tokenizer.json: what llama.cpp splits in the same way, and what it would not."""

from pathlib import Path
from typing import Any

import pytest
from tests.conversion.source import SPECIALS, TEMPLATE, VOCABULARY, config_of, tokenizer_json, write_source

from millrace.base.errors import Refusal
from millrace.conversion.tokenizer import CONTROL, NORMAL, UNUSED, USER_DEFINED, Vocabulary, parse_vocabulary, read_vocabulary

BEGIN = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": SPECIALS[0]}}, {"Sequence": {"id": "A"}}]}


def parse(raw: dict[str, Any], settings: dict[str, Any] | None = None, general: dict[str, Any] | None = None) -> Vocabulary:
    return parse_vocabulary(raw, settings or {}, general or {}, None, VOCABULARY)


def test_a_folder_s_vocabulary(tmp_path: Path) -> None:
    """Words at their numbers, the special ones marked, the rows of the embeddings that have no word filled."""
    found = read_vocabulary(write_source(tmp_path, config_of("Qwen3ForCausalLM")), VOCABULARY)
    assert (found.pre, len(found.tokens), found.template) == ("qwen2", VOCABULARY, TEMPLATE)
    assert found.tokens[256:261] == (*SPECIALS, "ab", "[PAD260]")
    assert found.types[255:261] == (NORMAL, CONTROL, CONTROL, CONTROL, NORMAL, UNUSED)
    assert (found.stops, found.pad, found.bos) == ((258, 256), 256, None)
    assert (found.add_bos, found.add_eos) == (False, False)


def test_the_file_of_the_template_comes_first(tmp_path: Path) -> None:
    """chat_template.jinja, as newer folders have it."""
    folder = write_source(tmp_path, config_of("Qwen3ForCausalLM"))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert read_vocabulary(folder, VOCABULARY).template == "{{ messages }}"


@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe", "smaug-bpe", "gpt-2"])
def test_the_splitter_is_told_by_its_rule(pre: str) -> None:
    """By the regular expression and what goes before merges, not by anybody's name."""
    assert parse(tokenizer_json(pre)).pre == pre


def test_a_first_token() -> None:
    """Llama 3 begins every text with one; the template of the post-processor says so."""
    raw = tokenizer_json("llama-bpe", post_processor={"type": "Sequence", "processors": [{"type": "ByteLevel"}, BEGIN]})
    found = parse(raw, {"bos_token": SPECIALS[0]})
    assert (found.bos, found.add_bos, found.add_eos) == (256, True, False)
    with pytest.raises(Refusal, match="around a text"):
        parse(raw, {"bos_token": SPECIALS[1]})


def test_a_begin_token_may_be_number_nought() -> None:
    """A token's number 0 is a number."""
    assert parse(tokenizer_json(), {"bos_token": "Ā"}, {"bos_token_id": 7}).bos == 0


def test_merges_are_written_in_two_ways() -> None:
    """Old files have 'a b', new ones ['a', 'b']."""
    raw = tokenizer_json()
    raw["model"] |= {"merges": ["a b", ["c", "d"]]}
    assert parse(raw).merges == ("a b", "c d")


def test_added_words_that_are_not_special() -> None:
    """They are found in a text like special ones, and shown like others."""
    raw = tokenizer_json()
    raw["added_tokens"].append({"id": 260, "content": "<tool_call>", "special": False})
    assert parse(raw).types[260] == USER_DEFINED


def changed(part: str, **changes: Any) -> dict[str, Any]:
    raw = tokenizer_json()
    raw[part] = {**raw[part], **changes}
    return raw


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (changed("model", type="Unigram"), "of the kind Unigram"),
        (changed("model", byte_fallback=True), "of the kind SentencePiece"),
        (changed("model", end_of_word_suffix="</w>"), "end_of_word_suffix is '</w>'"),
        (changed("model", ignore_merges=True), "a rule that is none of gpt-2, llama-bpe, qwen2, smaug-bpe"),
        (changed("model", merges=[]), "it has no merges"),
        (changed("model", merges=[["a", "b c"]]), "not of two parts without blanks"),
        (tokenizer_json(normalizer={"type": "Lowercase"}), "'Lowercase'"),
        (tokenizer_json(pre_tokenizer={"type": "Whitespace"}), "a rule that is none of"),
        (tokenizer_json(pre_tokenizer=None), "a rule that is none of"),
        (tokenizer_json(post_processor={"type": "BertProcessing"}), "'BertProcessing'"),
        (tokenizer_json(added_tokens=[{"id": 256, "content": "<x>", "lstrip": True}]), "'<x>' has lstrip"),
        (tokenizer_json(added_tokens=[{"id": 256, "content": "a"}]), "a token is in it twice"),
        (tokenizer_json(added_tokens=[{"id": VOCABULARY, "content": "<x>"}]), "vocab_size is 264"),
    ],
)
def test_what_llama_cpp_would_split_otherwise_is_refused(raw: dict[str, Any], named: str) -> None:
    """By the name of what is in the way."""
    with pytest.raises(Refusal) as refused:
        parse(raw)
    assert named in refused.value.sentence


def test_more_ends_than_there_is_room_for() -> None:
    """A fourth token that ends an answer would be overrun."""
    assert parse(tokenizer_json(), {"eos_token": SPECIALS[2]}, {"eos_token_id": [1, 2]}).stops == (258, 1, 2)
    with pytest.raises(Refusal, match="room for 3"):
        parse(tokenizer_json(), {"eos_token": SPECIALS[2]}, {"eos_token_id": [1, 2, 3]})


def test_a_folder_without_one(tmp_path: Path) -> None:
    """A SentencePiece file alone is told of."""
    folder = write_source(tmp_path, config_of("LlamaForCausalLM"))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"")
    with pytest.raises(Refusal, match=r"no tokenizer\.json \(tokenizer\.model\)"):
        read_vocabulary(folder, VOCABULARY)
