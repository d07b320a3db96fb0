"""Drills: dialogues that teach nothing but copying and looking up, on which every answer about a shop rests.

A small network learns to copy suddenly and late; shop dialogues alone hold too few copied tokens for that.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from models.tiny.conversation import Dialogue, Turn
from models.tiny.goods import CITIES, COLOURS, COUNTRIES, CUSTOMERS, TRADES
from models.tiny.odd import odd_name, odd_word
from models.tiny.spin import join_words, pick
from models.tiny.tools import Call, Parameter, Said, Scene, Tool, as_dialogue
from models.tiny.worlds import invented_name, order_number

Item = Callable[[random.Random], str]
ITEMS: tuple[Item, ...] = (
    *(odd_name,) * 8,
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


def make_drill(rng: random.Random, names: Sequence[str] = ()) -> Dialogue:
    """One drill: a call with what was said and an answer with what came back, a list to look up in, or repeating."""
    draw = rng.random()
    return _call(rng, names) if draw < 0.45 else _lookup(rng, names) if draw < 0.75 else _repeat(rng, names)


def echo(rng: random.Random, names: Sequence[str] = ()) -> tuple[Turn, Turn]:
    """Something to repeat to the letter, and the repetition."""
    said = ", ".join(_item(rng, names) for _ in range(rng.choice((1, 2, 3, 5, 8, 12)))) + "."
    asked = pick(rng, ("[Repeat|Say|Please repeat|Please say|say|repeat][ after me|]:", "Repeat[ after me|]", "Say"))
    return Turn("user", f"{asked} {said}"), Turn("assistant", said)


def _repeat(rng: random.Random, names: Sequence[str]) -> Dialogue:
    return tuple(turn for _ in range(rng.randint(1, 4)) for turn in echo(rng, names))


def _lookup(rng: random.Random, names: Sequence[str]) -> Dialogue:
    """Lines of a name and a value in the system prompt; each question names one, the answer gives both."""
    listed = list(dict.fromkeys(_item(rng, names) for _ in range(rng.randint(3, 12))))
    mark = rng.choice((": ", ", ", " is ", " costs "))
    lines = {name: f"{name}{mark}{_item(rng, names)}" for name in listed}
    asked = pick(rng, ("{name}?", "{name}", "What about {name}?", "And {name}?"), name="{name}")
    turns = [Turn("system", rng.choice(("\n", "\n- ", ". ")).join(("[List]", *lines.values())))]
    for name in (rng.choice(listed) for _ in range(rng.randint(2, 8))):
        turns += [Turn("user", asked.format(name=name)), Turn("assistant", f"{lines[name]}.")]
    return tuple(turns)


def _call(rng: random.Random, names: Sequence[str]) -> Dialogue:
    """One of some tools is called with what the user said; of what comes back, what was asked for is told."""
    verbs = {f"{rng.choice(_VERBS)}_{odd_word(rng)}" for _ in range(rng.randint(1, 5))}
    tools = tuple(Tool(name, _parameters(rng)) for name in sorted(verbs))
    turns: list[Said] = []
    for _ in range(rng.randint(1, 4)):
        tool = rng.choice(tools)
        items = [_item(rng, names) for _ in tool.parameters]
        facts = {odd_word(rng): _fact(rng, names) for _ in range(rng.randint(1, 5))}
        key, value = rng.choice(list(facts.items()))
        fields = {"wish": tool.name.replace("_", " "), "item": items[0], "key": key, "value": join_words(value)}
        arguments = {parameter.name: item for parameter, item in zip(tool.parameters, items, strict=True)}
        turns += [
            Said("user", pick(rng, _WISHES_OF_TWO if items[1:] else _WISHES, other=items[-1], **fields)),
            Said("assistant", "", Call(tool.name, arguments)),
            Said("tool", _written(facts)),
            Said("assistant", pick(rng, _ANSWERS, **fields)),
        ]
    return as_dialogue(Scene("", tools, tuple(turns)))


def _parameters(rng: random.Random) -> tuple[Parameter, ...]:
    """One, at times two."""
    named = dict.fromkeys(odd_word(rng) for _ in range(rng.choice((1, 1, 2))))
    return tuple(Parameter(name) for name in named)


def _fact(rng: random.Random, names: Sequence[str]) -> list[str]:
    """Usually one value."""
    return [_item(rng, names) for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 4)))]


def _item(rng: random.Random, names: Sequence[str]) -> str:
    """One of `names` half of the time, where there are any."""
    return rng.choice(names) if names and rng.random() < 0.5 else rng.choice(ITEMS)(rng)


def _written(facts: dict[str, list[str]]) -> str:
    return json.dumps({name: one if len(one) > 1 else one[0] for name, one in facts.items()}, ensure_ascii=False)


_VERBS = ("get", "find", "look_up", "check", "ask", "show", "read", "open")
_WISHES = (
    "{wish} of {item}: {key}?", "{wish} for {item}, what is the {key}?", "The {key} of {item}, {wish}.", "{wish} {item} {key}",
    "{wish}: {item}, I need the {key}", "Tell me the {key} for {item}[ now|], {wish}", "{key} of {item} please ({wish})",
)  # fmt: skip
_WISHES_OF_TWO = (
    "{wish} of {item} and {other}: {key}?", "{wish} for {item} from {other}, what is the {key}?",
    "From {other} {wish} {item}, the {key}.", "{other}: {wish} {item}[ please|]. The {key}?", "{wish} {item}, {other} {key}",
)  # fmt: skip
_ANSWERS = ("{value}.", "The {key} is {value}.", "The {key} of {item} is {value}.")
