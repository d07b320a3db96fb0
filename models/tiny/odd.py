"""Names of any words: what a network must copy although it never saw it; of invented syllables it learns to copy syllables."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from models.tiny.phrases import read_phrases

_FILES = (
    "answers", "desk_answers", "desk_questions", "details", "extras", "millrace", "noshop", "out_of_scope", "questions",
    "smalltalk", "words",
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z][a-z]{2,}")
WORDS: tuple[str, ...] = tuple(
    sorted(
        {
            word.lower()
            for file in _FILES
            for lines in read_phrases(file).values()
            for line in lines
            for word in _WORD.findall(re.sub(r"\{\w*\}", " ", line))
        }
    )
)
_VOWELS, _OTHERS = "aeiouy", "bcdfghjklmnpqrstvwxz"
_ENDS = ("ing", "er", "ic", "age", "ette", "s", "ish", "let", "tion", "ful", "in", "olin", "ust", "ips", "rica")


def odd_word(rng: random.Random) -> str:
    """A word of the phrase files, at times with another ending, or letters as they come."""
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(WORDS)
    if draw < 0.8:
        return rng.choice(WORDS)[: rng.randint(2, 5)] + rng.choice((*_ENDS, rng.choice(WORDS)[-rng.randint(2, 4) :]))
    return "".join(rng.choice(_VOWELS if rng.random() < 0.42 else _OTHERS) for _ in range(rng.randint(3, 8)))


def odd_name(rng: random.Random) -> str:
    """One to four odd words, in small letters or as a name is written."""
    name = " ".join(odd_word(rng) for _ in range(rng.choice((1, 1, 2, 2, 2, 3, 4))))
    return rng.choice((name, name, name.capitalize(), name.title()))


def piece_names(rng: random.Random, entries: Iterable[str], times: int) -> list[str]:
    """Names in which each entry of a vocabulary that is made of letters occurs about `2 * times` times: alone and in a word.

    An entry that no assistant ever says cannot be copied: its output learns `never`. `\u0120` is how byte-level BPE writes the
    blank before a word.
    """
    letters = {entry.replace("\u0120", " ").strip() for entry in entries}
    pieces = sorted(piece for piece in letters if piece.isascii() and piece.isalpha())
    words = [*pieces, *(rng.choice(pieces) + piece for piece in pieces)] * times
    rng.shuffle(words)
    names = []
    while words:
        count = rng.choice((1, 2, 2, 3))
        names.append(" ".join(words[:count]))
        del words[:count]
    return names
