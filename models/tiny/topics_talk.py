"""Topics that need no facts: greetings, the model itself, small talk, what is out of scope, and Millrace."""

from __future__ import annotations

from models.tiny import drills
from models.tiny.conversation import Talk, Topic, replied
from models.tiny.goods import CUSTOMERS
from models.tiny.phrases import pairs, read_phrases
from models.tiny.spin import capital, join_words, pick

SMALL = read_phrases("smalltalk")
OUT_OF_SCOPE = read_phrases("out_of_scope")
HEARD_OUT_OF_SCOPE = ("bank accounts and cards", "cars and traffic", "restaurants", "your work and your pay")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

ABOUT_SELF = ("can_do", "can_do", "not_others", "not_others", "bot", "maker", "size", "age", "languages")
CHAT = (
    "joke",
    "joke",
    "feeling",
    "happy",
    "rude",
    "garbled",
    "foreign",
    "time_now",
    "how_are_you",
    "hobbies",
    "api_test",
)


def small_talk(name: str) -> Topic:
    """The topic `name` of smalltalk.txt."""
    return replied(SMALL[name], SMALL[f"{name}_answers"], name)


def greet(talk: Talk) -> None:
    if talk.rng.random() < 0.15:
        return small_talk("how_are_you")(talk)
    welcome = "greeting_shop_answers" if talk.shop and talk.rng.random() < 0.6 else "greeting_answers"
    return replied(SMALL["greetings"], SMALL[welcome])(talk)


def who(talk: Talk) -> None:
    lines = SMALL["self_shop" if talk.shop else "self_alone"]
    more = pick(talk.rng, SMALL["more"]) if talk.rng.random() < 0.8 else ""
    said = pick(talk.rng, lines, shop=talk.shop_name)
    talk.exchange(talk.phrase("who", SMALL["who"]), f"{said} {more}".strip())


def about_self(talk: Talk) -> None:
    small_talk(talk.rng.choice(ABOUT_SELF))(talk)


def chat(talk: Talk) -> None:
    small_talk(talk.rng.choice(CHAT))(talk)


def recite(talk: Talk) -> None:
    """The few long things that the model can say by heart: a story, a poem, the numbers."""
    rng = talk.rng
    kind = rng.choice(("story", "story", "poem", "poem", "count"))
    if kind != "count":
        return small_talk(kind)(talk)
    if rng.random() < 0.5:
        last = rng.randint(3, len(NUMBERS))
        return talk.exchange(f"Count to {NUMBERS[last - 1]}.", capital(join_words(NUMBERS[:last])) + ".")
    last = rng.choice((5, 10, 10, 12, 15, 20, 20, 25, 30))
    question = pick(rng, ("Count to {n}.", "Count from 1 to {n}.", "count to {n} please"), n=str(last))
    return talk.exchange(question, ", ".join(str(number) for number in range(1, last + 1)) + ".")


def repeat_after(talk: Talk) -> None:
    talk.turns += drills.echo(talk.rng)


def named(talk: Talk) -> None:
    """The customer tells a name and may ask for it later."""
    rng = talk.rng
    if talk.customer:
        return talk.exchange(pick(rng, SMALL["my_name_asked"]), pick(rng, SMALL["my_name_known"], name=talk.customer))
    talk.customer = rng.choice(CUSTOMERS)
    talk.exchange(
        pick(rng, SMALL["my_name"], name=talk.customer), pick(rng, SMALL["my_name_answers"], name=talk.customer)
    )
    return named(talk) if rng.random() < 0.4 else None


def out_of_scope(talk: Talk) -> None:
    """Half of the refusals name no subject: what to say where the subject is unclear."""
    rng = talk.rng
    topic = rng.choice([*OUT_OF_SCOPE, *(key for key in HEARD_OUT_OF_SCOPE if key in talk.heard)])
    question = talk.phrase(topic, OUT_OF_SCOPE[topic]) if topic in OUT_OF_SCOPE else rng.choice(talk.heard[topic])
    after = pick(rng, SMALL["limit_shop" if talk.shop else "limit_alone"], shop=talk.shop_name)
    said = pick(rng, SMALL["limit_any"]) if rng.random() < 0.5 else pick(rng, SMALL["limit"], topic=topic)
    talk.exchange(question, f"{said} {after}" if rng.random() < 0.75 else said)


_MILLRACE = tuple(replied(questions, answers) for questions, answers in pairs(read_phrases("millrace")))


def millrace(talk: Talk) -> None:
    talk.rng.choice(_MILLRACE)(talk)


def between(talk: Talk) -> None:
    """Small things that people say between two questions; `talk` must have an answer already."""
    rng, draw = talk.rng, talk.rng.random()
    last = talk.turns[-1].text
    if "anything else" in last or "another question" in last:
        return small_talk(rng.choice(("yes", "no")))(talk) if draw < 0.3 else None
    if draw < 0.06:
        return small_talk("okays")(talk)
    if draw < 0.1:
        return small_talk("thanks")(talk)
    if draw < 0.13:
        answers = SMALL["sure_answers_told" if talk.shop else "sure_answers"]
        return talk.exchange(pick(rng, SMALL["sure"]), pick(rng, answers))
    return talk.exchange(pick(rng, SMALL["repeat"]), last) if draw < 0.145 else None


def close(talk: Talk) -> None:
    draw = talk.rng.random()
    if draw < 0.2:
        small_talk("thanks")(talk)
    if 0.12 < draw < 0.35:
        small_talk("byes")(talk)


TALK_TOPICS: tuple[tuple[float, Topic], ...] = (
    (0.6, repeat_after), (0.5, greet), (1.2, who), (1.2, about_self), (1.5, chat), (0.3, named),
)  # fmt: skip
