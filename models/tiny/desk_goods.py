"""What customers want to know of products and of the shop, and what they put into their carts."""

from __future__ import annotations

from models.tiny import answers
from models.tiny.conversation import fillings
from models.tiny.desk import Result, plural, stock
from models.tiny.desk_talk import DeskTalk
from models.tiny.desk_world import Good
from models.tiny.goods import COLOURS, COUNTRIES, DAYS, TRADES
from models.tiny.odd import odd_name, odd_word
from models.tiny.spin import capital, join_words
from models.tiny.topics_talk import NUMBERS
from models.tiny.worlds import invented_name

WAYS = (
    "Visa", "Mastercard", "PayPal", "bank transfer", "Apple Pay", "Google Pay", "Alipay", "WeChat Pay", "cash on delivery",
    "invoice", "credit card", "Klarna",
)  # fmt: skip
WEEKEND = DAYS[5:]
KINDS = ("price", "price", "stock", "colours", "sizes", "colour")


def product(talk: DeskTalk) -> None:
    """A question about one product; the next ones are answered from what the tool said already."""
    rng = talk.rng
    if rng.random() < 0.1:
        return _unknown_product(talk)
    good = rng.choice(talk.world.goods)
    kind = rng.choice(KINDS)
    name = talk.typed(good.name)
    colour = rng.choice(good.colours) if good.colours and rng.random() < 0.5 else rng.choice(COLOURS)
    section = {"colours": "colours_of", "sizes": "sizes_of", "colour": "colour_asked"}.get(kind, kind)
    talk.ask(section, name=name, colour=colour, **_grammar(good))
    found = talk.call("get_product", name)
    _answer(talk, good, found, kind, colour)
    for other in rng.sample(("price", "stock", "colours", "sizes"), rng.choice((0, 0, 1, 1, 2))):
        if other != kind:
            talk.ask(f"{other}_next")
            _answer(talk, good, found, other, "")
    if talk.has("add_to_cart") and rng.random() < 0.2:
        _cart_next(talk, good)
    return None


def _unknown_product(talk: DeskTalk) -> None:
    rng = talk.rng
    noun = rng.choice(rng.choice(TRADES).nouns).rstrip("*")
    name = talk.typed(rng.choice((f"{invented_name(rng)} {noun}", odd_name(rng))))
    talk.ask(rng.choice(("price", "stock")), name=name, is_="is", is_c="Is", costs="costs")
    talk.call("get_product", name)
    talk.say("product_none", name=name)


def _answer(talk: DeskTalk, good: Good, found: Result, kind: str, colour: str) -> None:
    name = found["name"]
    fields = {"name": name, "comes": "come" if good.plural else "comes"} | _grammar(good)
    if kind == "price":
        return talk.say("price", price=found["price"], **fields)
    if kind == "stock":
        left = stock(good).removesuffix(" left")
        section = {"sold out": "stock_out", "in stock": "stock_in"}.get(left, "stock_low")
        return talk.say(section, left=left, left_are="is" if left == "1" else "are", **fields)
    if kind == "sizes":
        return talk.say("sizes" if good.sizes else "sizes_untold", sizes=_listed(found.get("sizes")), **fields)
    colours = _listed(found.get("colours"))
    if kind == "colours" or not good.colours:
        return talk.say("colours" if good.colours else "colours_untold", colours=colours, **fields)
    return talk.say("colour_yes" if colour in good.colours else "colour_no", colour=colour, colours=colours, **fields)


def _listed(values: list[str] | None) -> str:
    return join_words(values) if values else ""


def find(talk: DeskTalk) -> None:
    rng = talk.rng
    thing = rng.choice(talk.world.goods).name
    if rng.random() < 0.2:
        thing = rng.choice((rng.choice(rng.choice(TRADES).nouns).rstrip("*"), odd_word(rng)))
    draw = rng.random()
    if draw < 0.4:
        thing = thing.split()[-1]
    elif draw < 0.5:
        thing = rng.choice([word for word in thing.split() if len(word) > 2] or [thing])
    wanted = talk.typed(thing if thing.endswith("s") or rng.random() < 0.3 else plural(thing))
    talk.ask("find", thing=wanted)
    found = talk.call("find_products", wanted)["products"]
    if not found:
        return talk.say("found_none", thing=wanted)
    first = found[0]
    if len(found) > 1:
        listed = join_words([f"the {one['name']} for {one['price']}" for one in found])
        return talk.say("found_more", list=listed)
    talk.say("found_one_out" if first["stock"] == "sold out" else "found_one", name=first["name"], price=first["price"])
    if first["stock"] != "sold out" and talk.has("add_to_cart") and rng.random() < 0.3:
        good = next(good for good in talk.world.goods if good.name == first["name"])
        _cart_next(talk, good)
    return None


def cart(talk: DeskTalk) -> None:
    rng = talk.rng
    good = rng.choice(talk.world.goods)
    name, count = talk.typed(good.name), rng.choice((1, 1, 1, 2, 3, 4, 5, 6, 10, 12))
    if count == 1:
        talk.ask("cart", name=name)
    else:
        talk.ask("cart_many", name=name, n=_number(talk, count))
    _add(talk, good, name, count)


def _cart_next(talk: DeskTalk, good: Good) -> None:
    """One or more of what was just looked at."""
    count = talk.rng.choice((1, 1, 1, 2, 2, 3, 4, 6))
    if count == 1:
        talk.ask("cart_next")
    else:
        talk.ask("cart_many_next", n=_number(talk, count))
    _add(talk, good, good.name, count)


def _number(talk: DeskTalk, count: int) -> str:
    """As this customer writes it: in figures or as a word."""
    return NUMBERS[count - 1] if talk.rng.random() < 0.4 else str(count)


def _add(talk: DeskTalk, good: Good, name: str, count: int) -> None:
    done = talk.call("add_to_cart", name, count)
    if "error" in done:
        return talk.say("cart_out", name=done["name"], **_grammar(good))
    number, _, added = done["added"].partition(" × ")
    is_ = "are" if count > 1 or good.plural else "is"
    return talk.say("carted", n=number, name=added, is_=is_, total=done["cart_total"])


def _grammar(good: Good) -> dict[str, str]:
    is_ = "are" if good.plural else "is"
    return {"is_": is_, "is_c": capital(is_), "costs": "cost" if good.plural else "costs"}


def policy(talk: DeskTalk) -> None:
    """A question that the shop's own facts answer, and at times a second one on the same topic."""
    topic, kinds = talk.rng.choice(_POLICIES)
    chosen = talk.rng.sample(kinds, min(len(kinds), talk.rng.choice((1, 1, 1, 2))))
    found: Result | None = None
    for kind in chosen:
        said = _policy_answer(talk, kind)
        found = found or talk.call("get_policy", topic)
        known = said is not None and "error" not in found
        if known and said is not None:
            talk.tell(said)
        else:
            talk.say("policy_unknown")


_POLICIES = (
    ("hours", ("hours", "hours_on_day")), ("hours", ("hours_on_day",)),
    ("delivery", ("delivery_time", "delivery_cost", "countries", "countries_all")),
    ("delivery", ("delivery_time", "delivery_cost", "countries")),
    ("returns", ("returns", "return_cost")), ("payment", ("payment", "payment_by")), ("warranty", ("warranty",)),
    ("gift_cards", ("gift_cards",)), ("contact", ("contact", "address")),
)  # fmt: skip


def _policy_answer(talk: DeskTalk, kind: str) -> str | None:
    """Asks, and gives the answer that the facts allow; None where the shop does not tell."""
    rng, shop = talk.rng, talk.world.shop
    day, country, way = rng.choice((*DAYS, *WEEKEND * 3)), rng.choice(COUNTRIES), rng.choice(WAYS)
    if shop.countries and rng.random() < 0.5:
        country = rng.choice(shop.countries)
    if shop.payments and rng.random() < 0.5:
        way = rng.choice(shop.payments)
    talk.ask(kind, **fillings(rng) | {"day": day, "country": country, "way": way})
    told = {
        "hours": shop.hours, "hours_on_day": shop.hours, "delivery_time": shop.delivery_time,
        "delivery_cost": shop.delivery_cost or shop.free_from, "countries": shop.countries, "countries_all": shop.countries,
        "returns": shop.return_days, "return_cost": shop.return_days and shop.return_cost, "payment": shop.payments,
        "payment_by": shop.payments, "gift_cards": shop.gift_cards, "warranty": shop.warranty,
        "contact": answers.contact(shop), "address": shop.city,
    }  # fmt: skip
    if not told[kind]:
        return None
    if kind == "hours_on_day":
        return answers.hours_on(rng, shop, day)
    if kind == "countries":
        return answers.ships_to(rng, shop, country)
    if kind == "payment_by":
        return answers.payment_by(rng, shop, way)
    plain = {
        "hours": answers.hours, "delivery_time": answers.delivery_time, "delivery_cost": answers.delivery_cost,
        "countries_all": answers.countries, "returns": answers.returns, "return_cost": answers.return_cost,
        "payment": answers.payment, "gift_cards": answers.gift_cards, "warranty": answers.warranty,
        "contact": answers.how_to_contact, "address": answers.address,
    }  # fmt: skip
    return plain[kind](rng, shop)
