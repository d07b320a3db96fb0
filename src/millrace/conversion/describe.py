"""A model's sizes and its vocabulary as the head of a GGUF file."""

from typing import Any

from millrace.conversion.config import Config
from millrace.conversion.kinds import FILE_TYPES, Kind
from millrace.conversion.tokenizer import Vocabulary


def describe(writer: Any, name: str, config: Config, vocabulary: Vocabulary, kind: Kind) -> None:
    """`writer` is gguf's, which has the architecture already."""
    import gguf

    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _sizes(writer, config)
    _words(writer, vocabulary)


def _sizes(writer: Any, config: Config) -> None:
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head)
    writer.add_value_length(config.head)
    writer.add_rope_dimension_count(config.head)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.epsilon)
    writer.add_vocab_size(config.vocabulary)
    if config.experts is not None:
        writer.add_expert_count(config.experts.count)
        writer.add_expert_used_count(config.experts.used)
        writer.add_expert_feed_forward_length(config.experts.width)
        if config.experts.shared_width is not None:
            writer.add_expert_shared_feed_forward_length(config.experts.shared_width)


def _words(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    stops = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, token in zip(stops, vocabulary.stops, strict=False):
        add(token)
    if vocabulary.bos is not None:
        writer.add_bos_token_id(vocabulary.bos)
    if vocabulary.pad is not None:
        writer.add_pad_token_id(vocabulary.pad)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    if vocabulary.template is not None:
        writer.add_chat_template(vocabulary.template)
