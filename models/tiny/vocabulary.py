"""The tokenizer: byte-level BPE with the split pattern that llama.cpp calls `qwen2`, and Qwen3's special words.

Run: python -m models.tiny.vocabulary --out DIR [--shared DIR]      (half a minute)
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from models.tiny.conversation import Dialogue
from models.tiny.desk_scenes import NO_NAMES, make_scene
from models.tiny.dialogues import make_dialogue
from models.tiny.shared import read_heard, read_names, read_services
from models.tiny.tools import as_dialogue
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 4096
SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>",
    "<tool_response>", "</tool_response>", "<tools>", "</tools>",
)  # fmt: skip
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterator[str], size: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of `size` entries; the specials are the first ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def texts(shared: Path | None, dialogues: int, seed: int = 7) -> Iterator[str]:
    """Text for the merges: generated dialogues, and the shared ones where they are."""
    rng = random.Random(seed)
    heard = read_heard(shared) if shared else {}
    names = read_names(shared) if shared else NO_NAMES
    for _ in range(dialogues // 2):
        yield from _said(make_dialogue(rng, heard))
        yield from _said(as_dialogue(make_scene(rng, names, heard=heard)))
    for scene in read_services(shared)[::4] if shared else ():
        yield from _said(as_dialogue(scene))


def _said(dialogue: Dialogue) -> Iterator[str]:
    return (f"{turn.role}\n{turn.text}" for turn in dialogue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--dialogues", type=int, default=20_000)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts(given.shared, given.dialogues))
    tokenizer.save(str(given.out / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} entries in {given.out / 'tokenizer.json'}")


if __name__ == "__main__":
    main()
