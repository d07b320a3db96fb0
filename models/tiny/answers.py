"""What a good assistant says about a shop: each answer is built from the facts of the shop alone.

A fact that the shop does not tell is answered by `unknown`, which says so and offers the way to the team.
"""

from __future__ import annotations

import random

from models.tiny.phrases import read_phrases
from models.tiny.spin import capital, join_words, pick
from models.tiny.worlds import SOLD_OUT, Order, Product, Shop, closed_text, hours_text

_SAID = read_phrases("answers")


def _say(rng: random.Random, section: str, **fields: str) -> str:
    return pick(rng, _SAID[section], **fields)


def contact(shop: Shop) -> str | None:
    """How the team is reached, as the end of a sentence, or None when the shop does not tell."""
    if shop.email and shop.phone:
        return f"by e-mail at {shop.email} or by phone at {shop.phone}"
    if shop.email:
        return f"at {shop.email}"
    return f"by phone at {shop.phone}" if shop.phone else None


def _by_contact(rng: random.Random, shop: Shop, section: str) -> str:
    """The section with the way to the team, or its `_untold` twin."""
    way = contact(shop)
    return _say(rng, section, way=way) if way else _say(rng, f"{section}_untold", shop=shop.name)


def unknown(rng: random.Random, shop: Shop, what: str) -> str:
    """The honest answer when a fact was not told. `what` is a noun phrase such as `our opening hours`."""
    return f"{_say(rng, 'unknown', what=what)} {_by_contact(rng, shop, 'reach')}"


def hours(rng: random.Random, shop: Shop) -> str:
    if shop.hours is None:
        return unknown(rng, shop, "our opening hours")
    said = _say(rng, "hours", hours=hours_text(shop.hours), shop=shop.name)
    return f"{said} {closed_text(shop.hours)}".strip()


def hours_on(rng: random.Random, shop: Shop, day: str) -> str:
    if shop.hours is None:
        return unknown(rng, shop, f"our opening hours on {day}")
    span = shop.hours.on(day)
    if span is None:
        return _say(rng, "closed_on", day=day, hours=hours_text(shop.hours))
    return _say(rng, "hours_on", day=day, hours=span)


def delivery_time(rng: random.Random, shop: Shop) -> str:
    if shop.delivery_time is None:
        return unknown(rng, shop, "our delivery time")
    return _say(rng, "delivery_time", time=shop.delivery_time)


def delivery_cost(rng: random.Random, shop: Shop) -> str:
    """The cost, and from where on there is none; either may be untold, both is unknown."""
    said = [_say(rng, "delivery_cost", cost=shop.delivery_cost)] if shop.delivery_cost else []
    said += [_say(rng, "delivery_free", from_=shop.free_from)] if shop.free_from else []
    return " ".join(said) or unknown(rng, shop, "the cost of delivery")


def ships_to(rng: random.Random, shop: Shop, country: str) -> str:
    if shop.countries is None:
        return unknown(rng, shop, f"delivery to {country}")
    section = "ships" if country in shop.countries else "ships_not"
    return _say(rng, section, country=country, countries=join_words(shop.countries))


def countries(rng: random.Random, shop: Shop) -> str:
    if shop.countries is None:
        return unknown(rng, shop, "the countries we deliver to")
    return _say(rng, "countries", countries=join_words(shop.countries))


def returns(rng: random.Random, shop: Shop) -> str:
    if shop.return_days is None:
        return unknown(rng, shop, "returns")
    said = _say(rng, "returns", days=shop.return_days)
    return f"{said} {return_cost(rng, shop)}" if rng.random() < 0.75 else said


def return_cost(rng: random.Random, shop: Shop) -> str:
    if shop.return_days is None or shop.return_cost is None:
        return unknown(rng, shop, "the cost of returns")
    section = {"free": "return_free", "paid by the customer": "return_paid"}.get(shop.return_cost, "return_cost")
    return _say(rng, section, cost=shop.return_cost)


def payment(rng: random.Random, shop: Shop) -> str:
    if shop.payments is None:
        return unknown(rng, shop, "our payment methods")
    return _say(rng, "payment", ways=join_words(shop.payments))


def payment_by(rng: random.Random, shop: Shop, way: str) -> str:
    if shop.payments is None:
        return unknown(rng, shop, "our payment methods")
    section = "payment_by" if way in shop.payments else "payment_by_not"
    return _say(rng, section, way=way, ways=join_words(shop.payments))


def gift_cards(rng: random.Random, shop: Shop) -> str:
    if shop.gift_cards is None:
        return unknown(rng, shop, "gift cards")
    return _say(rng, "gift_cards", cards=shop.gift_cards)


def warranty(rng: random.Random, shop: Shop) -> str:
    if shop.warranty is None:
        return unknown(rng, shop, "the warranty")
    return _say(rng, "warranty", warranty=shop.warranty)


def address(rng: random.Random, shop: Shop) -> str:
    if shop.city is None:
        return unknown(rng, shop, "our address")
    return _say(rng, "address" if shop.address else "city", address=shop.address or "", city=shop.city)


def how_to_contact(rng: random.Random, shop: Shop) -> str:
    return _by_contact(rng, shop, "contact")


def human(rng: random.Random, shop: Shop) -> str:
    return _by_contact(rng, shop, "human")


def order_state(rng: random.Random, order: Order) -> str:
    return _say(rng, "order", number=order.number, state=order.state)


def order_not_found(rng: random.Random, shop: Shop, number: str) -> str:
    return f"{_say(rng, 'order_not_found', number=number)} {_by_contact(rng, shop, 'reach')}"


def ask_number(rng: random.Random) -> str:
    return _say(rng, "ask_number")


def cancel(rng: random.Random, shop: Shop) -> str:
    return f"{_say(rng, 'cancel')} {_by_contact(rng, shop, 'reach')}"


def change_address(rng: random.Random, shop: Shop) -> str:
    return f"{_say(rng, 'change_address')} {_by_contact(rng, shop, 'reach')}"


def damaged(rng: random.Random, shop: Shop) -> str:
    return f"{_say(rng, 'damaged')} {_by_contact(rng, shop, 'reach')}"


def wrong_item(rng: random.Random, shop: Shop) -> str:
    return f"{_say(rng, 'wrong_item')} {_by_contact(rng, shop, 'reach')}"


def angry(rng: random.Random, shop: Shop) -> str:
    return f"{_say(rng, 'angry')} {_by_contact(rng, shop, 'reach')}"


def discount(rng: random.Random, _: Shop) -> str:
    return _say(rng, "discount")


def what_sold(rng: random.Random, shop: Shop) -> str:
    if not shop.products:
        return _say(rng, "what_sold_untold", trade=shop.trade.said, shop=shop.name)
    listed = join_words([f"the {product.name} for {product.price}" for product in shop.products])
    return _say(rng, "what_sold", products=listed)


def not_sold(rng: random.Random, shop: Shop) -> str:
    instead = what_sold(rng, shop) if shop.products else f"We are {shop.trade.said}."
    return f"{_say(rng, 'not_sold')} {instead}"


def how_to_order(rng: random.Random, _: Shop) -> str:
    return _say(rng, "how_to_order")


def _about(rng: random.Random, section: str, product: Product, **more: str) -> str:
    """A section about a product, with every field that it may name."""
    comes = "come" if product.plural else "comes"
    fields = {"name": product.name, "price": product.price, "stock": product.stock, "It": capital(product.it)}
    listed = {
        "colours": join_words(product.colours) if product.colours else "",
        "sizes": join_words(product.sizes) if product.sizes else "",
    }
    return _say(rng, section, **fields, **listed, is_=product.is_, costs=product.costs, comes=comes, **more)


def price(rng: random.Random, product: Product) -> str:
    return _about(rng, "price", product)


def colours(rng: random.Random, product: Product) -> str:
    return _about(rng, "colours" if product.colours else "colours_untold", product)


def colour_asked(rng: random.Random, product: Product, colour: str) -> str:
    if not product.colours:
        return colours(rng, product)
    return _about(rng, "colour" if colour in product.colours else "colour_not", product, colour=colour)


def sizes(rng: random.Random, product: Product) -> str:
    return _about(rng, "sizes" if product.sizes else "sizes_untold", product)


def size_asked(rng: random.Random, product: Product, size: str) -> str:
    if not product.sizes:
        return sizes(rng, product)
    return _about(rng, "size" if size in product.sizes else "size_not", product, size=size)


def stock(rng: random.Random, product: Product) -> str:
    if product.stock == SOLD_OUT:
        return _about(rng, "stock_none", product)
    if not product.stock:
        return _about(rng, "stock_untold", product)
    return _about(rng, "stock_low" if product.stock.startswith("only") else "stock", product)


def buy(rng: random.Random, product: Product) -> str:
    return stock(rng, product) if product.stock == SOLD_OUT else _about(rng, "buy", product)


def recommend(rng: random.Random, person: str | None, options: tuple[Product, ...]) -> str:
    """Recommends one of `options` for a `person` such as `sister`; that there are none is said."""
    if not options:
        return _say(rng, "recommend_nothing")
    product = rng.choice(options)
    comes = f" {capital(product.it)} {'come' if product.plural else 'comes'} in"
    colours_too = f"{comes} {join_words(product.colours)}." if product.colours else ""
    whom = f" for your {person}" if person else ""
    return _about(rng, "recommend", product, whom=whom, colours_too=colours_too)
