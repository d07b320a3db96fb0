"""Drills: dialogues that teach nothing but copying and looking up, on which every answer about a shop rests.

A small network learns to copy suddenly and late; shop dialogues alone hold too few copied tokens for that.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from models.tiny.conversation import Dialogue, Turn
from models.tiny.goods import CITIES, COLOURS, COUNTRIES, CUSTOMERS, TRADES
from models.tiny.spin import pick
from models.tiny.worlds import invented_name, order_number

Item = Callable[[random.Random], str]
ITEMS: tuple[Item, ...] = (
    invented_name,
    order_number,
    lambda rng: rng.choice(CUSTOMERS),
    lambda rng: rng.choice(CITIES),
    lambda rng: rng.choice(COLOURS),
    lambda rng: rng.choice(COUNTRIES),
    lambda rng: rng.choice(rng.choice(TRADES).nouns).rstrip("*"),
    lambda rng: str(rng.randint(2, 9999)),
    lambda rng: f"{rng.randint(1, 99)}.{rng.randint(10, 99)}",
)


def make_drill(rng: random.Random) -> Dialogue:
    """One drill; about half of them repeat, the others look up."""
    return _lookup(rng) if rng.random() < 0.5 else _repeat(rng)


def echo(rng: random.Random) -> tuple[Turn, Turn]:
    """Something to repeat to the letter, and the repetition."""
    said = ", ".join(rng.choice(ITEMS)(rng) for _ in range(rng.choice((1, 2, 3, 5, 8, 12)))) + "."
    asked = pick(rng, ("[Repeat|Say|Please repeat|Please say|say|repeat][ after me|]:", "Repeat[ after me|]", "Say"))
    return Turn("user", f"{asked} {said}"), Turn("assistant", said)


def _repeat(rng: random.Random) -> Dialogue:
    return tuple(turn for _ in range(rng.randint(1, 4)) for turn in echo(rng))


def _lookup(rng: random.Random) -> Dialogue:
    """Lines of a name and a value in the system prompt; each question names one, the answer gives both."""
    names = list(dict.fromkeys(rng.choice(ITEMS)(rng) for _ in range(rng.randint(3, 12))))
    mark = rng.choice((": ", ", ", " is ", " costs "))
    lines = {name: f"{name}{mark}{rng.choice(ITEMS)(rng)}" for name in names}
    asked = pick(rng, ("{name}?", "{name}", "What about {name}?", "And {name}?"), name="{name}")
    turns = [Turn("system", rng.choice(("\n", "\n- ", ". ")).join(("[List]", *lines.values())))]
    for name in (rng.choice(names) for _ in range(rng.randint(2, 8))):
        turns += [Turn("user", asked.format(name=name)), Turn("assistant", f"{lines[name]}.")]
    return tuple(turns)
