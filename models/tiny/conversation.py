"""One conversation in the making: turns, and the small manners of exchanges."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from models.tiny.goods import COUNTRIES, CUSTOMERS, DAYS
from models.tiny.odd import odd_word
from models.tiny.phrases import read_phrases
from models.tiny.spin import capital, casual, pick
from models.tiny.worlds import Shop

QUESTIONS = read_phrases("questions")
GREETING_STARTS = ("Hello", "Hi", "Good", "Welcome", "Nice to meet")
Heard = Mapping[str, Sequence[str]]  # phrases of real customers by topic, see shared.py


class Turn(NamedTuple):
    role: str  # system, user or assistant
    text: str


Dialogue = tuple[Turn, ...]


@dataclass
class Talk:
    """A conversation with a shop, or with the bare model when `shop` is None."""

    rng: random.Random
    shop: Shop | None
    heard: Heard
    turns: list[Turn] = field(default_factory=list)
    customer: str = ""  # the name that the customer told

    @property
    def told_shop(self) -> Shop:
        """The shop, where a topic needs one; a talk without a shop here is a bug."""
        if self.shop is None:
            raise ValueError("this topic needs a shop")
        return self.shop

    @property
    def shop_name(self) -> str:
        return self.shop.name if self.shop else ""

    @property
    def is_new(self) -> bool:
        """Nobody has said anything yet."""
        return all(turn.role == "system" for turn in self.turns)

    def exchange(self, question: str, answer: str) -> None:
        """Adds a question, as a hurried customer may type it, and its answer; a first one may begin with a greeting."""
        if self.is_new and not answer.startswith(GREETING_STARTS) and self.rng.random() < 0.3:
            question = self.rng.choice(("Hi, ", "Hello, ", "Hey, ", "Good morning, ", "Hello! ")) + question
            answer = self.rng.choice(("Hello! ", "Hi! ", "")) + answer
        self.turns += [Turn("user", casual(self.rng, capital(question))), Turn("assistant", answer)]

    def join_last(self) -> None:
        """Makes one message of the last two questions, and one of their answers."""
        (_, first), (_, one), (_, second), (_, two) = self.turns[-4:]
        self.turns[-4:] = [Turn("user", f"{first} {second}"), Turn("assistant", f"{one} {two}")]

    def phrase(self, topic: str, own: Sequence[str]) -> str:
        """A customer's phrase on a topic: that of a real one at times, where there are any."""
        if self.heard.get(topic) and self.rng.random() < 0.45:
            return self.rng.choice(self.heard[topic])
        return pick(self.rng, own, **fillings(self.rng))

    def words(self) -> int:
        return sum(len(turn.text.split()) for turn in self.turns)


Topic = Callable[[Talk], None]


def fillings(rng: random.Random) -> dict[str, str]:
    """Something for each field that a phrase may have without a fact behind it."""
    chosen = {
        "thing": "things", "thing_subject": "thing_subjects", "thing_noun": "nouns", "person": "persons",
        "topic_word": "topic_words", "name": "elsewhere", "way": "ways",
    }  # fmt: skip
    filled = {name: rng.choice(QUESTIONS[section]) for name, section in chosen.items()}
    numbers = {"n": str(rng.randint(1, 99)), "m": str(rng.randint(2, 99))}
    grammar = {"is_": "is", "is_c": "Is", "costs": "costs"}
    places = {"country": rng.choice(COUNTRIES), "day": rng.choice(DAYS), "customer": rng.choice(CUSTOMERS)}
    return filled | numbers | grammar | places | {"odd": odd_word(rng)}


def replied(phrases: Sequence[str], answers: Sequence[str], topic: str = "") -> Topic:
    """A topic of one question and one ready answer; both see the same fields."""

    def run(talk: Talk) -> None:
        fields = fillings(talk.rng)
        heard = talk.heard.get(topic)
        question = talk.rng.choice(heard) if heard and talk.rng.random() < 0.45 else pick(talk.rng, phrases, **fields)
        talk.exchange(question, pick(talk.rng, answers, **fields, shop=talk.shop_name))

    return run
