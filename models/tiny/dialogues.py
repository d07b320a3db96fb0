"""Whole conversations: a system prompt or none, then topics one after the other, user and assistant in turn.

Theory of operation: a `Talk` (conversation.py) is one conversation in the making; topics are functions that add
exchanges to it. With a described shop the answers come from its facts (topics_shop.py, answers.py); without one they
are general (topics_alone.py). Nothing is random but the `rng` that is handed in.
"""

from __future__ import annotations

import random

from models.tiny.conversation import Dialogue, Heard, Talk, Topic, Turn
from models.tiny.spin import pick
from models.tiny.topics_alone import ALONE_TOPICS
from models.tiny.topics_chinese import chinese_dialogue
from models.tiny.topics_shop import SHOP_TOPICS
from models.tiny.topics_talk import between, close, greet
from models.tiny.worlds import make_shop, system_prompt

WORDS_MAX = 560  # about 900 tokens with the prompt: a conversation has to fit into 1,024
CHINESE_SHARE, SHOP_SHARE = 0.05, 0.56  # of all conversations; the rest is without a shop
TOPIC_COUNTS = (1, 1, 2, 2, 3, 4, 6)
TOPIC_COUNTS_SHOP = (1, 2, 3, 4, 5, 6, 8)  # more, as the prompt is long and has to be worth it
PLAIN_PROMPTS = (
    "You are a helpful assistant.",
    "You are millrace-tiny, a [small |]helpful assistant.",
    "You are a [friendly|polite|kind|concise|useful] assistant.",
    "Answer [briefly|shortly|in one sentence|politely].",
    "You are an assistant.",
    "You are [a pirate|a teacher|an expert|a poet|a programmer|a robot|a chatbot].",
    "[Be|You are] [brief|kind|funny|polite].",
)


def make_dialogue(rng: random.Random, heard: Heard | None = None) -> Dialogue:
    """One conversation; the same state of `rng` gives the same one."""
    draw = rng.random()
    if draw < CHINESE_SHARE:
        return chinese_dialogue(rng)
    talk = Talk(rng, make_shop(rng) if draw < CHINESE_SHARE + SHOP_SHARE else None, heard or {})
    _open(talk)
    table = SHOP_TOPICS if talk.shop else ALONE_TOPICS
    weights, topics = [weight for weight, _ in table], [topic for _, topic in table]
    count = rng.choice(TOPIC_COUNTS_SHOP if talk.shop else TOPIC_COUNTS)
    for topic in rng.choices(topics, weights, k=count):
        if talk.words() < WORDS_MAX:
            _run(talk, topic)
            between(talk)
    close(talk)
    return tuple(talk.turns)


def _open(talk: Talk) -> None:
    rng = talk.rng
    if talk.shop:
        talk.turns.append(Turn("system", system_prompt(rng, talk.shop)))
    elif rng.random() < 0.25:
        talk.turns.append(Turn("system", pick(rng, PLAIN_PROMPTS)))
    if rng.random() < 0.35:
        greet(talk)


def _run(talk: Talk, topic: Topic) -> None:
    """One topic; now and then its single question comes in one message with the question before."""
    before, was_new = len(talk.turns), talk.is_new
    topic(talk)
    single = len(talk.turns) == before + 2 and not was_new
    if single and not talk.turns[-3].text.endswith("?") and talk.rng.random() < 0.05:
        talk.join_last()
