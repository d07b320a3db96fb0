"""The world behind a shop's desk: what it sells, to whom, and which orders there are. Money is cents until it is shown."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from models.tiny.goods import CITIES, COLOURS, CUSTOMERS, HELD_OUT_TRADES, STREETS, TRADES, Trade
from models.tiny.odd import odd_name, odd_word
from models.tiny.spin import capital, join_words
from models.tiny.worlds import Shop, day_of_year, invented_name, make_shop, order_number

WAITING, PACKED, SHIPPED, OUT = "waiting for payment", "being packed", "shipped", "out for delivery"
DELIVERED, CANCELLED, RETURNED = "delivered", "cancelled", "returned"
STATUSES = (WAITING, PACKED, PACKED, SHIPPED, SHIPPED, OUT, DELIVERED, DELIVERED, CANCELLED, RETURNED)
OPEN = (WAITING, PACKED)  # of an order that can still be changed

Show = Callable[[int], str]
SHOWS: tuple[Show, ...] = (
    lambda cents: f"€{cents / 100:.2f}",
    lambda cents: f"${cents / 100:.2f}",
    lambda cents: f"£{cents / 100:.2f}",
    lambda cents: f"{cents / 100:.2f} EUR",
    lambda cents: f"{cents / 100:.2f} USD",
)


class Names(NamedTuple):
    """Names of products taken from real catalogues, where they are at hand; a part of them is kept for examination."""

    training: Sequence[str] = ()
    held_out: Sequence[str] = ()


@dataclass(frozen=True)
class Good:
    """A product. `left` is how many there are; None: the catalogue does not count them."""

    name: str
    plural: bool
    cents: int
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    left: int | None


@dataclass(frozen=True)
class Placed:
    """An order: how many of which products, and where it is."""

    number: str
    email: str
    items: tuple[tuple[int, Good], ...]
    status: str
    shipped: str
    arrives: str
    address: str

    @property
    def cents(self) -> int:
        return sum(count * good.cents for count, good in self.items)


@dataclass(frozen=True)
class World:
    shop: Shop
    show: Show
    goods: tuple[Good, ...]
    orders: tuple[Placed, ...]


def make_world(rng: random.Random, names: Names, held_out: bool = False) -> World:
    """A shop with goods and orders. Those kept for examination have trades and names that training never sees."""
    trade = rng.choice(HELD_OUT_TRADES if held_out else TRADES)
    shop = replace(make_shop(rng, trade), products=(), orders=())
    goods = _goods(rng, trade, names.held_out if held_out else names.training)
    return World(shop, rng.choice(SHOWS), goods, _orders(rng, goods))


def items_text(order: Placed) -> str:
    """`2 × mug and 1 × red tea set`."""
    return join_words([f"{count} × {good.name}" for count, good in order.items])


def an_email(rng: random.Random) -> str:
    name = rng.choice((rng.choice(CUSTOMERS), invented_name(rng), odd_word(rng))).lower()
    tail = rng.choice(("", "", str(rng.randint(1, 99)), f".{invented_name(rng).lower()}", f"_{rng.choice('abcdefgh')}"))
    return f"{name}{tail}@{rng.choice(('mail', 'post', 'inbox', invented_name(rng).lower()))}.example"


def an_address(rng: random.Random) -> str:
    way = rng.choice(("Street", "Road", "Lane", "Way", "Close", "Avenue", "Square"))
    street = rng.choice((rng.choice(STREETS), f"{invented_name(rng)} {way}", f"{capital(odd_word(rng))} {way}"))
    city = rng.choice((rng.choice(CITIES), capital(odd_word(rng))))
    return f"{rng.randint(1, 250)} {street}" + (f", {city}" if rng.random() < 0.6 else "")


def _goods(rng: random.Random, trade: Trade, names: Sequence[str]) -> tuple[Good, ...]:
    nouns = rng.sample(trade.nouns, min(len(trade.nouns), rng.choice((3, 4, 5, 6))))
    goods = {good.name: good for good in (_good(rng, trade, noun, names) for noun in nouns)}
    return tuple(goods.values())


def _good(rng: random.Random, trade: Trade, noun: str, names: Sequence[str]) -> Good:
    name, plural = noun.rstrip("*"), noun.endswith("*")
    draw = rng.random()
    if names and draw < 0.25:
        name, plural = rng.choice(names), False
    elif draw < 0.4:
        name, plural = odd_name(rng), False
    elif draw < 0.55:
        name = f"{rng.choice((odd_word, odd_name))(rng)} {name}"
    elif draw < 0.68:
        name = f"{invented_name(rng)} {name}"
    elif draw < 0.88:
        name = f"{rng.choice(trade.adjectives)} {name}"
    return Good(
        name=name,
        plural=plural,
        cents=rng.randint(*trade.prices) * 100 + rng.choice((0, 0, 50, 90, 95, 99, rng.randint(1, 98))),
        colours=tuple(rng.sample(COLOURS, rng.randint(1, 3))) if rng.random() < 0.6 else (),
        sizes=rng.choice(trade.sizes) if trade.sizes and rng.random() < 0.7 else (),
        left=rng.choice((0, 0, rng.randint(1, 9), rng.randint(10, 300), None, None)),
    )


def _orders(rng: random.Random, goods: tuple[Good, ...]) -> tuple[Placed, ...]:
    """One to three orders; at times two of one customer."""
    orders = [_order(rng, goods) for _ in range(rng.choice((1, 2, 2, 3)))]
    if len(orders) > 1 and rng.random() < 0.5:
        orders[1] = replace(orders[1], email=orders[0].email)
    return tuple(orders)


def _order(rng: random.Random, goods: tuple[Good, ...]) -> Placed:
    chosen = rng.sample(goods, min(len(goods), rng.choice((1, 1, 1, 2, 2, 3))))
    return Placed(
        number=order_number(rng).lstrip("#"),
        email=an_email(rng),
        items=tuple((rng.choice((1, 1, 1, 2, 3)), good) for good in chosen),
        status=rng.choice(STATUSES),
        shipped=day_of_year(rng),
        arrives=day_of_year(rng),
        address=an_address(rng),
    )
