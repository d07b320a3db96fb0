"""A little Chinese: greetings and the plainest shop questions, with the shop's own figures where it has them."""

from __future__ import annotations

import random

from models.tiny.conversation import Dialogue, Turn
from models.tiny.phrases import pairs, read_phrases
from models.tiny.worlds import Shop, make_shop, system_prompt

_TALK, _GENERAL = pairs(read_phrases("chinese_talk")), pairs(read_phrases("chinese_noshop"))
_TOLD = read_phrases("chinese_shop")
QuestionsAndAnswer = tuple[tuple[str, ...], str]


def chinese_dialogue(rng: random.Random) -> Dialogue:
    shop = make_shop(rng) if rng.random() < 0.4 else None
    turns = [Turn("system", system_prompt(rng, shop))] if shop else []
    told = _told(shop) if shop else []
    for _ in range(rng.choice((1, 2, 3, 4))):
        if told and rng.random() < 0.6:
            questions, answer = rng.choice(told)
        else:
            questions, answers = rng.choice(_TALK if shop or rng.random() < 0.6 else _GENERAL)
            answer = rng.choice(answers)
        turns += [Turn("user", rng.choice(questions)), Turn("assistant", answer)]
    return tuple(turns)


def _told(shop: Shop) -> list[QuestionsAndAnswer]:
    """The facts of a shop that can be asked for in Chinese, with their answers."""
    told = []
    if shop.hours:
        told.append(_filled("hours", h=shop.hours.weekdays))
    if shop.delivery_time:
        told.append(_filled("delivery", t=shop.delivery_time))
    if shop.return_days:
        told.append(_filled("returns", d=shop.return_days))
    return told + [_filled("price", n=product.name, p=product.price) for product in shop.products]


def _filled(section: str, **fields: str) -> QuestionsAndAnswer:
    questions = tuple(question.format(**fields) for question in _TOLD[section])
    return questions, _TOLD[f"{section}_answers"][0].format(**fields)
