"""A tiny grammar: `[a|b|]` picks one alternative, nested brackets are allowed, `{field}` is filled afterwards."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SPACES = re.compile(r" {2,}")


def unfold(rng: random.Random, text: str) -> str:
    """The text with one alternative for each of its choices, its fields still open."""
    while (found := _CHOICE.search(text)) is not None:
        text = text[: found.start()] + rng.choice(found.group(1).split("|")) + text[found.end() :]
    return _SPACES.sub(" ", text).strip()


def spin(rng: random.Random, text: str, **fields: str) -> str:
    """One sentence of the grammar in `text`. An unknown `{field}` is a bug and raises KeyError."""
    return _SPACES.sub(" ", unfold(rng, text).format(**fields)).strip()


def pick(rng: random.Random, texts: Sequence[str], **fields: str) -> str:
    """`spin` of one of several texts."""
    return spin(rng, rng.choice(texts), **fields)


def join_words(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`; one word stays alone. Empty is a bug."""
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def capital(text: str) -> str:
    """The same sentence with a capital first letter."""
    return text[:1].upper() + text[1:]


_SHORT = {
    "please": "pls",
    "you": "u",
    "thanks": "thx",
    "are": "r",
    "your": "ur",
    "because": "bc",
    "what is": "whats",
    "don't": "dont",
    "do not": "dont",
    "I am": "im",
    "can't": "cant",
    "what's": "whats",
    "okay": "ok",
}


def casual(rng: random.Random, text: str) -> str:
    """What a hurried customer types: lower case, no full stop, a slip of the finger now and then."""
    if rng.random() < 0.5:
        text = text.lower()
    if rng.random() < 0.4:
        text = text.rstrip("?.!") or text
    if rng.random() < 0.08:
        text = _shorten(text)
    if rng.random() < 0.12:
        text = _slip(rng, text)
    return text


def _shorten(text: str) -> str:
    for long, short in _SHORT.items():
        text = re.sub(rf"\b{re.escape(long)}\b", short, text)
    return text


def _slip(rng: random.Random, text: str) -> str:
    """Two neighbouring letters swapped, one doubled or one lost; digits are left alone."""
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha() and text[i].isascii()]
    if not places:
        return text
    i = rng.choice(places)
    swapped = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return rng.choice([swapped, text[:i] + text[i] + text[i:], text[:i] + text[i + 1 :]])
