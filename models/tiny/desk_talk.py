"""A conversation at the desk in the making: what the customer types, calls and their results, what the assistant says."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from models.tiny.conversation import QUESTIONS as SHOP_QUESTIONS
from models.tiny.conversation import Heard, Talk, Topic
from models.tiny.desk import Desk, Result
from models.tiny.desk_world import World
from models.tiny.phrases import Phrases, read_phrases, split
from models.tiny.spin import capital, casual, pick, unfold
from models.tiny.tools import Call, Said, Tool

ANSWERS = read_phrases("desk_answers")
GREETINGS = ("Hi, ", "Hello, ", "Hey, ", "Hello! ", "hi ")
_SHARED = (
    "hours", "hours_on_day", "delivery_time", "delivery_cost", "countries", "countries_all", "returns", "return_cost",
    "payment", "payment_by", "gift_cards", "warranty", "address", "contact",
)  # fmt: skip
TRAINING, HELD_OUT = split(read_phrases("desk_questions"))
POLICY_TRAINING, POLICY_HELD_OUT = split({name: SHOP_QUESTIONS[name] for name in _SHARED})


class DeskTalk:
    """Turns so far, and what they are about. `questions` are those of training, or those kept for examination.

    `named`: whether the assistant was told which shop it works for; `heard` are phrases of real customers.
    """

    def __init__(
        self, rng: random.Random, world: World, tools: Sequence[Tool], held_out: bool = False, *, named: bool = True,
        heard: Heard | None = None,
    ) -> None:  # fmt: skip
        self.rng = rng
        self.world = world
        self.desk = Desk(world)
        self.tools = {tool.task: tool for tool in tools}
        self.questions: Phrases = dict(HELD_OUT) | dict(POLICY_HELD_OUT) if held_out else dict(TRAINING) | dict(POLICY_TRAINING)
        self.named = named
        self.heard: Heard = heard or {}
        self.turns: list[Said] = []
        self.spaced = rng.random() < 0.6
        self.escaped = rng.random() < 0.06

    def has(self, *tasks: str) -> bool:
        return all(task in self.tools for task in tasks)

    def ask(self, section: str, **fields: str) -> None:
        """The customer's words, typed in a hurry; the fields are typed exactly as given."""
        line = unfold(self.rng, self.rng.choice(self.questions[section]))
        marks = {name: chr(0xE000 + place) for place, name in enumerate(fields)}
        text = casual(self.rng, capital(line.format(**marks)))
        for name, mark in marks.items():
            text = text.replace(mark, fields[name])
        greets = not self.turns and self.rng.random() < 0.25
        greeting = self.rng.choice(GREETINGS) if greets else ""
        self.turns.append(Said("user", greeting + text))

    def typed(self, value: str) -> str:
        """As this customer types a name: at times without capitals."""
        return value.lower() if self.rng.random() < 0.25 else value

    def call(self, task: str, *values: Any) -> Result:
        """The assistant calls the tool for a task; its result is the next turn, and is returned."""
        tool = self.tools[task]
        arguments = {one.name: value for one, value in zip(tool.parameters, values, strict=True)}
        result = self.desk.answer(tool, arguments)
        self.turns += [Said("assistant", "", Call(tool.name, arguments)), Said("tool", self.written(result))]
        return result

    def say(self, section: str, **fields: str) -> None:
        self.turns.append(Said("assistant", pick(self.rng, ANSWERS[section], **fields)))

    def small(self, topic: Topic) -> None:
        """Something that needs no tools; the shop's name only where the assistant was told it."""
        plain = Talk(self.rng, self.world.shop if self.named else None, self.heard)
        topic(plain)
        self.turns += [Said(turn.role, turn.text) for turn in plain.turns]

    def tell(self, text: str) -> None:
        self.turns.append(Said("assistant", text))

    def words(self) -> int:
        return sum(len(turn.text) // 5 + (12 if turn.call else 0) for turn in self.turns)

    def written(self, result: Mapping[str, Any]) -> str:
        separators = (", ", ": ") if self.spaced else (",", ":")
        return json.dumps(result, ensure_ascii=self.escaped, separators=separators)
