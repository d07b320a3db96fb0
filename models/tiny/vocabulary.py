"""The tokenizer: byte-level BPE with the split pattern that llama.cpp calls `qwen2`, and Qwen3's special words.

Run: python -m models.tiny.vocabulary --out DIR [--shared DIR]      (half a minute)
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.tiny.conversation import Dialogue
from models.tiny.desk_scenes import NO_NAMES, make_scene
from models.tiny.dialogues import make_dialogue
from models.tiny.shared import read_heard, read_names, read_services, shared_folder
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
MARK = r"^[^\p{L}](?=\p{L})"
BLANK = "\u0120"  # how byte-level BPE writes it
JOINED = 800


def train_tokenizer(texts: Sequence[str], size: int = VOCABULARY, joined: int = JOINED) -> Tokenizer:
    """A tokenizer of `size` entries; the specials are the first ones, the last `joined` are frequent words with their mark.

    A mark is what stands before a word: a blank, a quote, an underscore. All else is in the same pieces wherever it stands, but
    for a first piece that is a frequent word itself, so that a name can be copied piece by piece out of a sentence into JSON.
    """
    apart = Tokenizer(models.BPE())
    apart.pre_tokenizer = pre_tokenizers.Sequence([_split(SPLIT), _split(MARK), _bytes()])
    trainer = trainers.BpeTrainer(
        vocab_size=size - joined,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    apart.train_from_iterator(texts, trainer)
    model = json.loads(apart.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    merges = [tuple(merge) for merge in model["merges"]]
    whole = pre_tokenizers.Sequence([_split(SPLIT), _bytes()])
    for word in _frequent(whole, texts, vocabulary)[:joined]:
        vocabulary[word] = len(vocabulary)
        merges.append((word[0], word[1:]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.pre_tokenizer = whole
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _frequent(whole: Any, texts: Sequence[str], vocabulary: Mapping[str, int]) -> list[str]:
    """Words with their mark, the most frequent first, of which the vocabulary has the word alone.

    Of letters after a blank only the two that are words: names and numbers begin with the others.
    """
    words = Counter(word for text in texts for word, _ in whole.pre_tokenize_str(text))
    fitting = [word for word in words if word[1:].isalpha() and word[1:] in vocabulary and word not in vocabulary]
    marked = [word for word in fitting if not word[0].isalpha() or word[0] == BLANK]
    marked = [word for word in marked if len(word) > 2 or word[0] != BLANK or word[1] in "aI"]
    return sorted(marked, key=lambda word: (-words[word], word))


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _bytes() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


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
    parser.add_argument("--shared", type=shared_folder)
    parser.add_argument("--dialogues", type=int, default=20_000)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(list(texts(given.shared, given.dialogues)))
    tokenizer.save(str(given.out / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} entries in {given.out / 'tokenizer.json'}")


if __name__ == "__main__":
    main()
