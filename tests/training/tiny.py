"""Tiny models with random weights, one of each architecture, as transformers saves them, and their tokenizers."""

from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

from millrace.conversion.tokenizer import PRE_TOKENIZERS

VOCABULARY: Final = 384
TEMPLATE: Final = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
SPECIALS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CORPUS: Final = [
    "The mill race brings the water to the wheel, and the wheel turns 12345 times a day.",
    "It's what they'll say: we've seen it, haven't we? 水车 转动, 磨坊 的 水。",
    "def wheel(water):\n    return water * 3.14159  # turns\n\n\n\tand tabs",
    "Prices: 1,299.00 CNY; 20% off; call +86 10 6552 9988. Ünïcödé, ñandú, Straße.",
] * 20
"""Text to train a vocabulary on."""

_SIZES: Final[dict[str, Any]] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.08,
}
_EXPERTS: Final[dict[str, Any]] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
_LLAMA3: Final = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip

CONFIGS: Final[dict[str, Any]] = {
    "qwen2": Qwen2Config(**_SIZES),
    "qwen2.5": Qwen2Config(**_SIZES, tie_word_embeddings=True, sliding_window=512, use_sliding_window=False),
    "qwen3": Qwen3Config(**_SIZES, head_dim=128, tie_word_embeddings=True),
    "qwen2moe": Qwen2MoeConfig(**_SIZES, **_EXPERTS, shared_expert_intermediate_size=256, norm_topk_prob=False),
    "qwen3moe": Qwen3MoeConfig(**_SIZES, **_EXPERTS, head_dim=64, norm_topk_prob=True),
    "llama2": LlamaConfig(**(_SIZES | {"num_key_value_heads": 4}), attention_bias=True, mlp_bias=True),
    "llama3": LlamaConfig(**_SIZES, rope_parameters=_LLAMA3),
}
"""Tied and untied embeddings, grouped heads, biases, a given size of a head, scaled positions, experts."""

PRE: Final = {"llama2": "gpt-2", "llama3": "llama-bpe"}
"""How words are split; qwen2's way where nothing stands."""


def tokenizer(pre: str) -> Any:
    """A small byte-level BPE that splits words in one of the known ways; llama-bpe's begins each text with a token."""
    regex, whole_words = next(rule for rule, name in PRE_TOKENIZERS.items() if name == pre)
    made = Tokenizer(models.BPE(ignore_merges=whole_words))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex is None)
    split = [] if regex is None else [pre_tokenizers.Split(Regex(regex), "isolated")]
    made.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level]) if split else byte_level
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - 8, special_tokens=[], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )  # fmt: skip
    made.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIALS])
    made.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    if whole_words:
        begin = SPECIALS[0]
        made.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, made.token_to_id(begin))]
        )
    return made


def save(folder: Path, name: str, dtype: torch.dtype = torch.float32, shard: str = "5GB") -> Any:
    """The model of that name in the folder, with its tokenizer; the model itself, to ask it."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]).to(dtype).eval()
    with torch.no_grad():  # norms and biases are made as ones and noughts, and then hide what goes wrong with them
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(folder, max_shard_size=shard)
    made = tokenizer(PRE.get(name, "qwen2"))
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        bos_token="<|endoftext|>" if PRE.get(name) == "llama-bpe" else None,
    )  # fmt: skip
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    return model
