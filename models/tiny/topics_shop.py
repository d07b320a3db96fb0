"""Topics of a described shop: answers come from the shop's facts, or say that the fact was not told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from models.tiny import answers
from models.tiny.conversation import QUESTIONS, Talk, Topic, fillings
from models.tiny.goods import COLOURS, COUNTRIES, DAYS, TRADES
from models.tiny.phrases import read_phrases
from models.tiny.spin import capital, pick
from models.tiny.topics_talk import TALK_TOPICS, millrace, out_of_scope, recite
from models.tiny.worlds import SOLD_OUT, Product, Shop, order_number

EXTRAS, DETAILS = read_phrases("extras"), read_phrases("details")


def _plain(section: str, answer: Callable[[random.Random, Shop], str]) -> Topic:
    """A topic of one question that needs nothing but the shop."""

    def run(talk: Talk) -> None:
        talk.exchange(talk.phrase(section, QUESTIONS[section]), answer(talk.rng, talk.told_shop))

    return run


def hours_on(talk: Talk) -> None:
    rng = talk.rng
    section = "hours_on_day"
    for day in rng.sample(DAYS, rng.choice((1, 1, 2, 3))):
        talk.exchange(pick(rng, QUESTIONS[section], day=day), answers.hours_on(rng, talk.told_shop, day))
        section = "hours_next"


def ships(talk: Talk) -> None:
    rng, shop = talk.rng, talk.told_shop
    section = "countries"
    for _ in range(rng.choice((1, 1, 2, 3))):
        country = rng.choice(shop.countries) if shop.countries and rng.random() < 0.5 else rng.choice(COUNTRIES)
        talk.exchange(pick(rng, QUESTIONS[section], country=country), answers.ships_to(rng, shop, country))
        section = "country_next"


def pay_by(talk: Talk) -> None:
    rng, shop = talk.rng, talk.told_shop
    way = rng.choice(shop.payments) if shop.payments and rng.random() < 0.5 else rng.choice(QUESTIONS["ways"])
    talk.exchange(pick(rng, QUESTIONS["payment_by"], way=way), answers.payment_by(rng, shop, way))


def order_status(talk: Talk) -> None:
    rng, shop = talk.rng, talk.told_shop
    known = rng.choice(shop.orders) if shop.orders and rng.random() < 0.8 else None
    number = known.number if known else order_number(rng)
    said = answers.order_state(rng, known) if known else answers.order_not_found(rng, shop, number)
    if rng.random() < 0.5:
        return talk.exchange(pick(rng, QUESTIONS["order_status_number"], number=number), said)
    talk.exchange(talk.phrase("order_status", QUESTIONS["order_status"]), answers.ask_number(rng))
    return talk.exchange(pick(rng, QUESTIONS["give_number"], number=number), said)


def product_questions(talk: Talk) -> None:
    """Some questions about one product or two, or about one that is not sold."""
    rng, shop = talk.rng, talk.told_shop
    if not shop.products or rng.random() < 0.12:
        name = elsewhere(rng)
        return talk.exchange(pick(rng, QUESTIONS["not_sold"], name=name, is_="is"), answers.not_sold(rng, shop))
    product = rng.choice(shop.products)
    kinds = rng.sample(("price", "price", "stock", "colours", "sizes", "buy", "detail"), rng.choice((1, 1, 2, 3)))
    for kind in kinds:
        ask_product(talk, product, kind)
    if kinds[-1] in _SHORT and rng.random() < 0.35:
        _follow_up(talk, product, kinds[-1])
    return None


def ask_product(talk: Talk, product: Product, kind: str) -> None:
    rng, fields = talk.rng, _fields(talk.rng, product)

    def ask(section: str, answer: str, **more: str) -> None:
        talk.exchange(pick(rng, QUESTIONS[section], **fields, **more), answer)

    if kind == "price":
        ask("price", answers.price(rng, product))
    elif kind == "stock":
        ask("stock", answers.stock(rng, product))
    elif kind == "buy":
        ask("buy", answers.buy(rng, product))
    elif kind == "detail":
        what = rng.choice(list(DETAILS))
        talk.exchange(pick(rng, DETAILS[what], **fields), answers.unknown(rng, talk.told_shop, what))
    elif kind == "colours" and rng.random() < 0.5:
        colour = rng.choice(product.colours) if product.colours and rng.random() < 0.5 else rng.choice(COLOURS)
        ask("colour_asked", answers.colour_asked(rng, product, colour), colour=colour)
    elif kind == "colours":
        ask("colours_of", answers.colours(rng, product))
    elif product.sizes and rng.random() < 0.5:
        size = rng.choice((*product.sizes, "XXL", "S", "45"))
        ask("size_asked", answers.size_asked(rng, product, size), size=size)
    else:
        ask("sizes_of", answers.sizes(rng, product))


def _fields(rng: random.Random, product: Product) -> dict[str, str]:
    """What a question about a product needs; people often leave the adjective out."""
    name = product.noun if rng.random() < 0.35 else product.name
    return {"name": name, "is_": product.is_, "is_c": capital(product.is_), "costs": product.costs}


_SHORT: dict[str, tuple[str, tuple[str, ...]]] = {
    "price": ("stock", ("Is it in stock?", "Do you have it in stock?", "Is it available?", "And is it in stock?")),
    "stock": (
        "price",
        ("How much [is it|are they|does it cost]?", "What does it cost?", "And the price?", "how much?"),
    ),
    "colours": ("price", ("How much [is it|are they|does it cost]?", "What's the price?", "And how much?")),
    "sizes": ("price", ("How much [is it|are they]?", "What does it cost?", "what is the price?")),
}


def _follow_up(talk: Talk, product: Product, kind: str) -> None:
    """A short next question: the same product is `it`, or another product is asked the same."""
    rng, shop = talk.rng, talk.told_shop
    others = [other for other in shop.products if other != product]
    if kind in ("price", "stock") and others and rng.random() < 0.5:
        other = rng.choice(others)
        said = answers.price(rng, other) if kind == "price" else answers.stock(rng, other)
        return talk.exchange(pick(rng, QUESTIONS["product_next"], **_fields(rng, other)), said)
    next_kind, questions = _SHORT[kind]
    said = answers.price(rng, product) if next_kind == "price" else answers.stock(rng, product)
    return talk.exchange(pick(rng, questions), said)


def recommend(talk: Talk) -> None:
    rng, shop = talk.rng, talk.told_shop
    available = tuple(product for product in shop.products if product.stock != SOLD_OUT)
    person = rng.choice(QUESTIONS["persons"])
    question = pick(rng, QUESTIONS["recommend"], person=person)
    said = answers.recommend(rng, person if person in question else None, available)
    talk.exchange(question, said)
    if available and said.startswith("How about") and rng.random() < 0.4:
        chosen = next(product for product in available if f"the {product.name}" in said)
        _follow_up(talk, chosen, "price")


def extras(talk: Talk) -> None:
    """A fair question that no shop of ours tells about."""
    rng = talk.rng
    what = rng.choice(list(EXTRAS))
    talk.exchange(pick(rng, EXTRAS[what], **fillings(rng)), answers.unknown(rng, talk.told_shop, what))


def elsewhere(rng: random.Random) -> str:
    """A thing with its article that a shop may well not sell."""
    if rng.random() < 0.5:
        return rng.choice(QUESTIONS["elsewhere"])
    noun = rng.choice(rng.choice(TRADES).nouns)
    return noun.rstrip("*") if noun.endswith("*") else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_PLAIN: Sequence[tuple[float, str, Callable[[random.Random, Shop], str]]] = (
    (2, "hours", answers.hours), (2, "delivery_time", answers.delivery_time),
    (2, "delivery_cost", answers.delivery_cost), (0.8, "countries_all", answers.countries), (2.2, "returns", answers.returns),
    (0.8, "return_cost", answers.return_cost),
    (1, "payment", answers.payment), (0.7, "gift_cards", answers.gift_cards), (0.7, "warranty", answers.warranty),
    (0.8, "address", answers.address), (0.8, "contact", answers.how_to_contact), (0.8, "human", answers.human),
    (0.6, "cancel", answers.cancel), (0.5, "change_address", answers.change_address), (0.8, "damaged", answers.damaged),
    (0.5, "wrong_item", answers.wrong_item), (0.5, "angry", answers.angry), (0.6, "discount", answers.discount),
    (1.2, "what_sold", answers.what_sold), (0.4, "how_to_order", answers.how_to_order),
)  # fmt: skip

SHOP_TOPICS: tuple[tuple[float, Topic], ...] = (
    *((weight, _plain(section, answer)) for weight, section, answer in _PLAIN),
    (2, hours_on), (2, ships), (1, pay_by), (2.5, order_status), (6, product_questions), (1.5, recommend),
    (1.5, extras), (2, out_of_scope), (0.2, recite), (0.3, millrace), *TALK_TOPICS,
)  # fmt: skip
