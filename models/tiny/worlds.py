"""Invented shops: a `Shop` knows some facts about itself and can be told to a model as a system prompt.

A fact that is None is not in the system prompt, and no answer may know it. Every figure in a shop is text as it is
written in the prompt, so that an answer can only copy it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from models.tiny.goods import CITIES, COLOURS, COUNTRIES, DAYS, FIRST_NAMES, MONTHS, STREETS, SYLLABLES, TRADES, Trade
from models.tiny.spin import capital, join_words, pick, spin

WEEKDAYS, SATURDAY, SUNDAY = DAYS[:5], DAYS[5], DAYS[6]


@dataclass(frozen=True)
class Product:
    """One line of the catalogue. `price` carries its currency; `stock` is IN_STOCK, SOLD_OUT, `only N left` or empty."""

    name: str
    noun: str
    plural: bool
    price: str
    price_units: int
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    stock: str

    @property
    def is_(self) -> str:
        return "are" if self.plural else "is"

    @property
    def costs(self) -> str:
        return "cost" if self.plural else "costs"

    @property
    def it(self) -> str:
        return "they" if self.plural else "it"


IN_STOCK, SOLD_OUT = "in stock", "sold out"


@dataclass(frozen=True)
class Order:
    """An order that the system prompt tells about: `state` completes `order N …` or `your order …`."""

    number: str
    state: str


@dataclass(frozen=True)
class Hours:
    """Opening hours; None is a closed day. `weekdays` covers Monday to Friday."""

    weekdays: str
    saturday: str | None
    sunday: str | None

    def on(self, day: str) -> str | None:
        return {SATURDAY: self.saturday, SUNDAY: self.sunday}.get(day, self.weekdays)


@dataclass(frozen=True)
class Shop:
    name: str
    trade: Trade
    city: str | None = None
    address: str | None = None
    hours: Hours | None = None
    delivery_time: str | None = None
    delivery_cost: str | None = None
    free_from: str | None = None
    countries: tuple[str, ...] | None = None
    return_days: str | None = None
    return_cost: str | None = None
    payments: tuple[str, ...] | None = None
    gift_cards: str | None = None
    warranty: str | None = None
    email: str | None = None
    phone: str | None = None
    products: tuple[Product, ...] = ()
    orders: tuple[Order, ...] = ()


def make_shop(rng: random.Random, trade: Trade | None = None) -> Shop:
    """A shop that tells between three and all of its facts."""
    trade = trade or rng.choice(TRADES)
    name = _shop_name(rng, trade)
    sign = rng.choice(("$", "€", "£", "$", "€", " euros", " dollars", " yuan"))
    told = rng.uniform(0.3, 0.9)

    def tells() -> bool:
        return rng.random() < told

    city = rng.choice(CITIES) if tells() else None
    delivery = tells()
    return Shop(
        name=name,
        trade=trade,
        city=city,
        address=f"{rng.randint(1, 180)} {rng.choice(STREETS)}" if city and rng.random() < 0.4 else None,
        hours=_hours(rng) if tells() else None,
        delivery_time=_delivery_time(rng) if delivery else None,
        delivery_cost=_money(rng, sign, 2, 9) if delivery and rng.random() < 0.8 else None,
        free_from=_round_money(rng, sign) if delivery and rng.random() < 0.5 else None,
        countries=tuple(rng.sample(COUNTRIES, rng.randint(1, 5))) if tells() else None,
        return_days=rng.choice(("14 days", "30 days", "28 days", "60 days", "21 days", "100 days", "7 days", "45 days"))
        if tells()
        else None,
        return_cost=rng.choice(("free", "free", "paid by the customer", _money(rng, sign, 2, 6))),
        payments=_payments(rng) if tells() else None,
        gift_cards=_gift_cards(rng, sign) if rng.random() < told * 0.6 else None,
        warranty=rng.choice(("1 year", "2 years", "3 years", "5 years")) if rng.random() < told * 0.4 else None,
        email=_email(rng, name) if tells() else None,
        phone=_phone(rng) if rng.random() < told * 0.6 else None,
        products=_catalogue(rng, trade, sign) if rng.random() < 0.8 else (),
        orders=tuple(_order(rng) for _ in range(rng.choice((1, 1, 2, 3)))) if rng.random() < 0.4 else (),
    )


def invented_name(rng: random.Random) -> str:
    return capital("".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3))))


def _shop_name(rng: random.Random, trade: Trade) -> str:
    first = invented_name(rng) if rng.random() < 0.45 else rng.choice(FIRST_NAMES)
    return first if rng.random() < 0.25 else f"{first} {rng.choice(trade.last_names)}"


def _money(rng: random.Random, sign: str, low: int, high: int) -> str:
    cents = rng.choice((".00", ".50", ".90", ".99", ".95", "", "", f".{rng.randint(0, 9)}{rng.choice('0559')}"))
    return _signed(sign, f"{rng.randint(low, high)}{cents}")


def _round_money(rng: random.Random, sign: str) -> str:
    return _signed(sign, str(rng.choice((20, 25, 30, 35, 39, 40, 45, 49, 50, 60, 75, 80, 99, 100, 120, 150))))


def _signed(sign: str, number: str) -> str:
    return f"{number}{sign}" if sign.startswith(" ") else f"{sign}{number}"


def _hours(rng: random.Random) -> Hours:
    opens, closes = rng.randint(7, 11), rng.randint(16, 22)
    short = max(opens + 2, closes - rng.randint(1, 5))
    style = rng.randrange(len(_SPANS))
    saturday = _span(style, opens + rng.randint(0, 1), short) if rng.random() < 0.75 else None
    sunday = _span(style, opens + 1, short) if saturday and rng.random() < 0.25 else None
    return Hours(_span(style, opens, closes), saturday, sunday)


def _span(style: int, opens: int, closes: int) -> str:
    return _SPANS[style](opens, closes)


def _am_pm(hour: int) -> str:
    return f"{hour if hour <= 12 else hour - 12} {'am' if hour < 12 else 'pm'}"


_SPANS: tuple[Callable[[int, int], str], ...] = (
    lambda opens, closes: f"{_am_pm(opens)} to {_am_pm(closes)}",
    lambda opens, closes: f"{_am_pm(opens)} - {_am_pm(closes)}",
    lambda opens, closes: f"{opens:02d}:00 to {closes:02d}:00",
    lambda opens, closes: f"{opens}:00-{closes}:00",
    lambda opens, closes: f"{opens}:30 to {closes}:30",
    lambda opens, closes: f"{opens}:00-{closes}:30",
    lambda opens, closes: f"{opens} to {closes}",
)


def _delivery_time(rng: random.Random) -> str:
    low = rng.randint(1, 6)
    return rng.choice(
        (
            f"{low} to {low + rng.randint(1, 4)} working days",
            f"{low}-{low + rng.randint(1, 3)} days",
            f"{low + 1} working days",
            f"{low} to {low + rng.randint(1, 3)} days",
            "24 hours",
            "48 hours",
            f"{rng.randint(1, 2)} to {rng.randint(3, 4)} weeks",
            "one working day",
        )
    )


def _payments(rng: random.Random) -> tuple[str, ...]:
    ways = (
        "Visa",
        "Mastercard",
        "PayPal",
        "bank transfer",
        "Apple Pay",
        "Google Pay",
        "Alipay",
        "WeChat Pay",
        "cash on delivery",
        "invoice",
        "credit card",
        "debit card",
        "American Express",
        "Klarna",
    )
    return tuple(rng.sample(ways, rng.randint(2, 4)))


def _gift_cards(rng: random.Random, sign: str) -> str:
    low = rng.choice((5, 10, 15, 20, 25))
    return rng.choice(
        (
            f"from {_signed(sign, str(low))} to {_signed(sign, str(low * 10))}",
            f"of {_signed(sign, str(low))}, {_signed(sign, str(low * 2))} and {_signed(sign, str(low * 4))}",
            f"from {_signed(sign, str(low))}",
        )
    )


def _email(rng: random.Random, name: str) -> str:
    host = "".join(letter for letter in name.lower() if letter.isalnum())
    return f"{rng.choice(('help', 'hello', 'service', 'support', 'care', 'info', 'shop'))}@{host}.example"


def _phone(rng: random.Random) -> str:
    return rng.choice(
        (
            f"{rng.choice(('', '+', '0'))}{rng.randint(10, 99)} {rng.randint(100, 999)} {rng.randint(100, 9999)}",
            f"{rng.randint(100, 999)} {rng.randint(0, 9999):04d}",
            f"{rng.randint(100, 999)}-{rng.randint(100, 999)}-{rng.randint(0, 9999):04d}",
        )
    )


def _catalogue(rng: random.Random, trade: Trade, sign: str) -> tuple[Product, ...]:
    nouns = rng.sample(trade.nouns, min(len(trade.nouns), rng.choice((1, 2, 2, 3, 3, 4, 5))))
    return tuple(_product(rng, trade, noun, sign) for noun in nouns)


def _product(rng: random.Random, trade: Trade, noun: str, sign: str) -> Product:
    units = rng.randint(*trade.prices)
    name = short = noun.rstrip("*")
    if rng.random() < 0.6:
        name = f"{rng.choice(trade.adjectives)} {name}"
    return Product(
        name=name,
        noun=short,
        plural=noun.endswith("*"),
        price=_money(rng, sign, units, units),
        price_units=units,
        colours=tuple(rng.sample(COLOURS, rng.randint(1, 3))) if rng.random() < 0.5 else (),
        sizes=rng.choice(trade.sizes) if trade.sizes and rng.random() < 0.6 else (),
        stock=rng.choice((IN_STOCK, IN_STOCK, IN_STOCK, SOLD_OUT, f"only {rng.randint(2, 9)} left", "")),
    )


def order_number(rng: random.Random) -> str:
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(4, 7)))
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTVWX") for _ in range(rng.randint(1, 2)))
    return rng.choice((digits, digits, f"#{digits}", f"{letters}-{digits}", f"{letters}{digits}"))


def day_of_year(rng: random.Random) -> str:
    day, month = rng.randint(1, 28), rng.choice(MONTHS)
    return rng.choice((f"{day} {month}", f"{month} {day}", rng.choice(DAYS)))


def _order(rng: random.Random) -> Order:
    state = pick(
        rng,
        (
            "was shipped on {a}",
            "was shipped on {a} and should arrive on {b}",
            "is being packed",
            "was delivered on {a}",
            "is delayed and should arrive on {b}",
            "is out for delivery today",
            "was cancelled on {a}",
            "is waiting for payment",
            "is ready for pick-up",
            "was refunded on {a}",
            "will be shipped on {a}",
            "should arrive on {b}",
            "is on its way and should arrive on {b}",
        ),
        a=day_of_year(rng),
        b=day_of_year(rng),
    )
    return Order(order_number(rng), state)


def hours_text(hours: Hours) -> str:
    """All opening hours as one phrase, without a full stop."""
    parts = [f"{hours.weekdays} from Monday to Friday"]
    if hours.saturday == hours.sunday and hours.saturday:
        parts.append(f"{hours.saturday} on Saturday and Sunday")
    else:
        parts += [f"{hours.saturday} on Saturday"] if hours.saturday else []
        parts += [f"{hours.sunday} on Sunday"] if hours.sunday else []
    return join_words(parts)


def closed_text(hours: Hours) -> str:
    """A sentence on the closed days, or nothing."""
    if hours.saturday is None:
        return "We are closed at the weekend."
    return "We are closed on Sunday." if hours.sunday is None else ""


def product_line(product: Product) -> str:
    """A product as a catalogue line: name, price, then what is known of it."""
    parts = [f"{product.name}, {product.price}"]
    parts += [f"colours: {join_words(product.colours)}"] if product.colours else []
    parts += [f"sizes: {', '.join(product.sizes)}"] if product.sizes else []
    parts += [product.stock] if product.stock else []
    return ", ".join(parts)


OPENINGS = (
    "You are the [assistant|customer service assistant|shop assistant|helper] of {name}, {trade}{place}.",
    "You [answer|help] the customers of {name}, {trade}{place}.",
    "You work for {name}, {trade}{place}.",
    "You work for {name}{place}.",
    "{name} is {trade}{place}. You are its assistant.",
    "You are a [friendly|polite|helpful] assistant for {name} ({trade}{place}).",
    "You are [a|the] customer [support|service] [agent|assistant] [of|for|at] {name}{place}.",
    "Shop: {name}, {trade}{place}.",
)


def system_prompt(rng: random.Random, shop: Shop) -> str:
    """The shop's facts as a shopkeeper would write them, in one of three manners."""
    sentences = rng.random() < 0.4
    facts = _fact_sentences(rng, shop) if sentences else _fact_lines(rng, shop)
    rng.shuffle(facts)
    place = f" in {shop.city}" if shop.city else ""
    opening = pick(rng, OPENINGS, name=shop.name, trade=shop.trade.said, place=place)
    closing = spin(
        rng,
        "[||Answer briefly.|Answer politely and briefly.|Use only these facts.|Be friendly.|"
        "If you do not know something, say so.|Answer in whole sentences.]",
    )
    goods = _goods_text(rng, shop, sentences)
    if sentences:
        return " ".join(part for part in (opening, *facts, goods, closing) if part)
    bullet = rng.choice(("- ", "", "* "))
    body = "\n".join(f"{bullet}{line}" for line in facts)
    return "\n".join(part for part in (opening, body, goods, closing) if part)


def _goods_text(rng: random.Random, shop: Shop, sentences: bool) -> str:
    parts = []
    if shop.products:
        lines = [product_line(product) for product in shop.products]
        title = rng.choice(("Products", "Catalogue", "We sell", "Our products"))
        parts.append(
            f"{title}: {'; '.join(lines)}." if sentences else f"{title}:\n" + "\n".join(f"- {line}" for line in lines)
        )
    if shop.orders:
        lines = [f"order {order.number} {order.state}" for order in shop.orders]
        parts.append(
            f"Orders: {'; '.join(lines)}." if sentences else "Orders:\n" + "\n".join(f"- {line}" for line in lines)
        )
    return (" " if sentences else "\n").join(parts)


def _fact_sentences(rng: random.Random, shop: Shop) -> list[str]:
    hours = hours_text(shop.hours) if shop.hours else None
    closed = f" {closed_text(shop.hours)}" if shop.hours and rng.random() < 0.5 else ""
    returns = f"{shop.return_days}; they are {_return_price(shop)}" if shop.return_days else None
    facts = [
        ("The shop is at {it}.", shop.address),
        ("[We are|The shop is] open {it}." + closed, hours),
        ("[Delivery takes|Orders arrive within] {it}.", shop.delivery_time),
        ("[Delivery costs|Shipping is|Shipping costs] {it}.", shop.delivery_cost),
        ("[Delivery is free from|Shipping is free for orders over] {it}.", shop.free_from),
        ("We [ship|deliver|only ship|only deliver] to {it}.", join_words(shop.countries) if shop.countries else None),
        ("Returns are possible within {it}.", returns),
        ("[We accept|Customers can pay with] {it}.", join_words(shop.payments) if shop.payments else None),
        ("We sell gift cards {it}.", shop.gift_cards),
        ("All products have a warranty of {it}.", shop.warranty),
        ("[The team can be reached at|E-mail:|Contact:] {it}.", shop.email),
        ("[The phone number is|Phone:] {it}.", shop.phone),
    ]
    return [spin(rng, line, it=fact) for line, fact in facts if fact]


def _fact_lines(rng: random.Random, shop: Shop) -> list[str]:
    pairs = [
        ("[Address|Where]", shop.address),
        ("[Opening hours|Hours|Open]", _hours_line(rng, shop.hours) if shop.hours else None),
        ("[Delivery time|Delivery|Shipping time]", shop.delivery_time),
        ("[Delivery cost|Shipping cost|Shipping|Delivery price]", shop.delivery_cost),
        ("[Free delivery from|Free shipping over|Free shipping from]", shop.free_from),
        ("[Ships to|Delivers to|Delivery countries|We ship to]", ", ".join(shop.countries) if shop.countries else None),
        (
            "[Returns|Return period]",
            f"[within |]{shop.return_days}, {_return_price(shop)}" if shop.return_days else None,
        ),
        ("[Payment|Payment methods|We accept|Pay with]", ", ".join(shop.payments) if shop.payments else None),
        ("[Gift cards|Gift cards]", shop.gift_cards),
        ("[Warranty|Guarantee]", shop.warranty),
        ("[E-mail|Email|Contact]", shop.email),
        ("[Phone|Telephone|Tel]", shop.phone),
    ]
    return [spin(rng, f"{label}: {value}") for label, value in pairs if value]


def _hours_line(rng: random.Random, hours: Hours) -> str:
    if rng.random() < 0.5:
        return hours_text(hours)
    days = rng.choice(
        (("Mon-Fri", "Sat", "Sun"), ("Monday to Friday", "Saturday", "Sunday"), ("Mon to Fri", "Sat", "Sun"))
    )
    parts = [
        f"{days[0]} {hours.weekdays}",
        f"{days[1]} {hours.saturday or 'closed'}",
        f"{days[2]} {hours.sunday or 'closed'}",
    ]
    return ", ".join(parts)


def _return_price(shop: Shop) -> str:
    known = {"free": "free", "paid by the customer": "paid by the customer"}
    return known.get(shop.return_cost or "", f"{shop.return_cost} per return")
