"""Topics of a chat without a shop: general answers to shop questions, and talk about the model and Millrace."""

from __future__ import annotations

from models.tiny.conversation import QUESTIONS, Talk, Topic, replied
from models.tiny.phrases import read_phrases
from models.tiny.spin import pick
from models.tiny.topics_shop import EXTRAS
from models.tiny.topics_talk import TALK_TOPICS, millrace, out_of_scope, recite
from models.tiny.worlds import order_number

GENERAL = read_phrases("noshop")


def order_unknown(talk: Talk) -> None:
    rng, number = talk.rng, order_number(talk.rng)
    said = pick(rng, GENERAL["status_number"], number=number)
    if rng.random() < 0.35:
        return talk.exchange(pick(rng, QUESTIONS["order_status_number"], number=number), said)
    talk.exchange(talk.phrase("order_status", QUESTIONS["order_status"]), pick(rng, GENERAL["delivery"]))
    if rng.random() < 0.4:
        talk.exchange(pick(rng, QUESTIONS["give_number"], number=number), said)
    return None


def extras(talk: Talk) -> None:
    """A fair question that only a shop could answer."""
    what = talk.rng.choice(list(EXTRAS))
    replied(EXTRAS[what], (f"No shop is set up in this chat, so I have no information about {what}.",))(talk)


_ANSWERED_BY = (
    (0.5, "hours", "hours"), (0.3, "hours_on_day", "hours"), (0.7, "delivery_time", "delivery"),
    (0.5, "delivery_cost", "delivery_cost"), (0.6, "countries", "ships"), (0.3, "countries_all", "countries"),
    (1, "returns", "returns"), (0.3, "return_cost", "return_cost"), (0.3, "payment", "payment"),
    (0.2, "payment_by", "payment"), (0.3, "gift_cards", "gift"), (0.3, "warranty", "warranty"),
    (0.3, "address", "address"), (0.3, "contact", "contact"), (0.4, "human", "human"), (0.3, "cancel", "cancel"),
    (0.3, "change_address", "address_change"), (0.5, "damaged", "damaged"), (0.4, "wrong_item", "wrong"),
    (0.4, "angry", "angry"), (0.4, "discount", "discount"),
    (0.6, "what_sold", "sold"), (0.7, "not_sold", "product"), (0.6, "recommend", "recommend"),
    (0.3, "how_to_order", "order"),
)  # fmt: skip

ALONE_TOPICS: tuple[tuple[float, Topic], ...] = (
    *((weight, replied(QUESTIONS[asked], GENERAL[said])) for weight, asked, said in _ANSWERED_BY),
    (1.2, order_unknown), (0.3, extras), (4, out_of_scope), (0.8, recite), (2.8, millrace),
    *((weight * 1.4, topic) for weight, topic in TALK_TOPICS),
)  # fmt: skip
