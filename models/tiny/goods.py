"""What the invented shops sell, where they are and what they are called."""

from __future__ import annotations

from typing import NamedTuple

from models.tiny.phrases import read_phrases

_WORDS = read_phrases("words")
COLOURS, FIRST_NAMES, SYLLABLES = _WORDS["colours"], _WORDS["first_names"], _WORDS["syllables"]
CITIES, COUNTRIES, STREETS = _WORDS["cities"], _WORDS["countries"], _WORDS["streets"]
MONTHS, DAYS, CUSTOMERS = _WORDS["months"], _WORDS["days"], _WORDS["customers"]

Sizes = tuple[tuple[str, ...], ...]
_WEAR: Sizes = (("S", "M", "L"), ("XS", "S", "M", "L"), ("S", "M", "L", "XL"), ("M", "L", "XL"))
_FEET: Sizes = (("37", "38", "39"), ("38", "39", "40", "41"), ("40", "41", "42", "43"), ("42", "43", "44"), ("6", "7"))
_WEIGHT: Sizes = (("250 g", "500 g"), ("50 g", "100 g"), ("250 g", "1 kg"), ("200 g", "500 g", "1 kg"))
_LIQUID: Sizes = (("50 ml", "100 ml"), ("100 ml", "250 ml"))
_SIZES = {"wear": _WEAR, "feet": _FEET, "weight": _WEIGHT, "liquid": _LIQUID, "none": ()}


class Trade(NamedTuple):
    """A kind of shop. `nouns` in the plural end with `*`; `sizes` may be empty (sold without sizes)."""

    said: str
    last_names: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    sizes: Sizes
    prices: tuple[int, int]


def parse_trade(line: str) -> Trade:
    """A line of trades.txt: said; last names; adjectives; nouns; kind of sizes; lowest and highest price."""
    said, last_names, adjectives, nouns, sizes, prices = (part.strip() for part in line.split(";"))
    low, high = prices.split("-")
    listed = [tuple(part.split(", ")) for part in (last_names, adjectives, nouns)]
    return Trade(said, listed[0], listed[1], listed[2], _SIZES[sizes], (int(low), int(high)))


_ALL_TRADES = tuple(parse_trade(line) for line in read_phrases("trades")["trades"])
_KEPT = ("a cheese shop", "a music shop", "a lamp shop", "a flower shop")
TRADES = tuple(trade for trade in _ALL_TRADES if trade.said not in _KEPT)
HELD_OUT_TRADES = tuple(trade for trade in _ALL_TRADES if trade.said in _KEPT)  # for examination: training never sees them
