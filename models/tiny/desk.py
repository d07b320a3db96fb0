"""The desk's tools: what each answers about a world, and how it changes one. Deterministic: the same calls, the same results.

A tool has a task, which is one of `TASKS`; its name and those of its parameters are the caller's choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from zlib import crc32

from models.tiny.desk_world import CANCELLED, DELIVERED, OPEN, OUT, SHIPPED, WAITING, Good, Placed, World
from models.tiny.tools import Arguments, Parameter, Tool

Result = dict[str, Any]
TOPICS = ("hours", "delivery", "returns", "payment", "warranty", "gift_cards", "contact")


class Task(NamedTuple):
    """Names that callers give to a tool, and for each parameter the names that they give to it and its kind."""

    names: tuple[str, ...]
    parameters: tuple[tuple[tuple[str, ...], str], ...] = ()


_ORDER = (("order_id", "order_number", "id", "order", "number"), "string")
TASKS = {
    "find_products": Task(
        ("find_products", "search_products", "product_search", "search_catalogue"),
        ((("query", "text", "search", "q"), "string"),),
    ),
    "get_product": Task(
        ("get_product", "product_details", "get_item", "lookup_product"),
        ((("name", "product", "product_name", "item"), "string"),),
    ),
    "get_order": Task(("get_order", "order_status", "track_order", "lookup_order"), (_ORDER,)),
    "find_orders": Task(
        ("find_orders", "list_orders", "orders_by_email", "search_orders"),
        ((("email", "customer_email", "e_mail", "address"), "string"),),
    ),
    "cancel_order": Task(("cancel_order", "stop_order", "order_cancel", "cancel"), (_ORDER,)),
    "return_item": Task(
        ("return_item", "start_return", "create_return", "open_return"),
        (_ORDER, (("item", "name", "product", "item_name"), "string")),
    ),
    "change_address": Task(
        ("change_address", "update_address", "set_address", "new_address"),
        (_ORDER, (("address", "new_address", "ship_to", "street"), "string")),
    ),
    "add_to_cart": Task(
        ("add_to_cart", "cart_add", "put_in_cart", "order_product"),
        ((("name", "product", "product_name", "item"), "string"), (("quantity", "count", "amount", "n"), "integer")),
    ),
    "get_policy": Task(
        ("get_policy", "shop_policy", "get_info", "shop_info"), ((("topic", "about", "subject", "policy"), "topic"),)
    ),
    "hand_over": Task(("hand_over", "transfer_to_human", "call_agent", "escalate")),
}


def make_tools(rng: random.Random, needed: frozenset[str] = frozenset(), own_names: float = 0.45) -> tuple[Tool, ...]:
    """Some of the tools, those `needed` among them, at times under a caller's `own_names`, in any order."""
    own = rng.random() < own_names
    others = [task for task in TASKS if task not in needed]
    chosen = [*sorted(needed), *rng.sample(others, min(len(others), rng.choice((1, 3, 5, 6, 6, 7))))]
    rng.shuffle(chosen)
    return tuple(_tool(rng, task, own) for task in chosen)


def _tool(rng: random.Random, task: str, own: bool) -> Tool:
    form = TASKS[task]
    parameters = []
    for names, kind in form.parameters:
        name = rng.choice(names) if own else names[0]
        parameters.append(Parameter(name, "string", TOPICS) if kind == "topic" else Parameter(name, kind))
    return Tool(rng.choice(form.names) if own else form.names[0], tuple(parameters), task)


class Desk:
    """A world as it stands after the calls so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.orders = {order.number.lower(): order for order in world.orders}
        self.cart: list[tuple[int, Good]] = []

    def answer(self, tool: Tool, arguments: Arguments) -> Result:
        """The result of a call; what is wrong with it is said in `error`, and nothing changes then."""
        missing = [one.name for one in tool.parameters if one.name not in arguments]
        if missing:
            return {"error": f"missing argument {missing[0]}"}
        values = [arguments[one.name] for one in tool.parameters]
        task: Callable[..., Result] = getattr(self, tool.task)
        return task(*values)

    def find_products(self, query: str) -> Result:
        wanted = singular(query.lower())
        found = [good for good in self.world.goods if wanted in good.name.lower()]
        return {"products": [self._short(good) for good in found]}

    def get_product(self, name: str) -> Result:
        good = self._good(name)
        if good is None:
            return {"error": "no such product"}
        more: Result = {"colours": list(good.colours)} if good.colours else {}
        more |= {"sizes": list(good.sizes)} if good.sizes else {}
        return self._short(good) | more

    def get_order(self, number: str) -> Result:
        order = self._order(number)
        return NOT_FOUND if order is None else self._told(order)

    def find_orders(self, email: str) -> Result:
        found = [order for order in self.orders.values() if order.email.lower() == email.lower()]
        return {"orders": [{"order_id": order.number, "status": order.status} for order in found]}

    def cancel_order(self, number: str) -> Result:
        order = self._order(number)
        if order is None:
            return NOT_FOUND
        if order.status not in OPEN:
            return {"error": "cannot be cancelled", "status": order.status}
        self._put(replace(order, status=CANCELLED))
        paid = order.status != WAITING
        return {"order_id": order.number, "status": CANCELLED} | ({"refund": self.world.show(order.cents)} if paid else {})

    def return_item(self, number: str, item: str) -> Result:
        order = self._order(number)
        if order is None:
            return NOT_FOUND
        if order.status != DELIVERED:
            return {"error": "not delivered", "status": order.status}
        if not any(good.name.lower() == item.lower() for _, good in order.items):
            return {"error": "not in this order", "items": _items(order)}
        return {"return_id": f"R-{_digits(order.number + item)}", "label_sent_to": order.email}

    def change_address(self, number: str, address: str) -> Result:
        order = self._order(number)
        if order is None:
            return NOT_FOUND
        if order.status not in OPEN:
            return {"error": "cannot be changed", "status": order.status}
        self._put(replace(order, address=address))
        return {"order_id": order.number, "address": address}

    def add_to_cart(self, name: str, quantity: int) -> Result:
        good = self._good(name)
        if good is None:
            return {"error": "no such product"}
        if good.left == 0:
            return {"error": "sold out", "name": good.name}
        self.cart.append((quantity, good))
        total = sum(count * one.cents for count, one in self.cart)
        return {"added": f"{quantity} × {good.name}", "cart_total": self.world.show(total)}

    def get_policy(self, topic: str) -> Result:
        shop = self.world.shop
        weekly = None if shop.hours is None else {
            "Monday to Friday": shop.hours.weekdays,
            "Saturday": shop.hours.saturday or "closed",
            "Sunday": shop.hours.sunday or "closed",
        }  # fmt: skip
        facts: dict[str, Result] = {
            "hours": weekly or {},
            "delivery": {
                "time": shop.delivery_time, "cost": shop.delivery_cost, "free_from": shop.free_from,
                "countries": list(shop.countries) if shop.countries else None,
            },
            "returns": {"within": shop.return_days, "cost": shop.return_cost} if shop.return_days else {},
            "payment": {"methods": list(shop.payments)} if shop.payments else {},
            "warranty": {"warranty": shop.warranty},
            "gift_cards": {"gift_cards": shop.gift_cards},
            "contact": {"email": shop.email, "phone": shop.phone, "address": shop.address, "city": shop.city},
        }  # fmt: skip
        told = {name: fact for name, fact in facts.get(topic, {}).items() if fact is not None}
        return told or {"error": "not known"}

    def hand_over(self) -> Result:
        return {"ticket": f"T-{_digits(self.world.shop.name + repr(self.world.orders[0].number))}"}

    def _short(self, good: Good) -> Result:
        return {"name": good.name, "price": self.world.show(good.cents), "stock": stock(good)}

    def _told(self, order: Placed) -> Result:
        told: Result = {"order_id": order.number, "status": order.status, "items": _items(order)}
        told["total"] = self.world.show(order.cents)
        if order.status in (SHIPPED, OUT, DELIVERED):
            told["shipped_on"] = order.shipped
        if order.status not in (WAITING, CANCELLED):
            told["delivered_on" if order.status == DELIVERED else "arrives_on"] = order.arrives
        return told

    def _good(self, name: str) -> Good | None:
        return next((good for good in self.world.goods if good.name.lower() == name.lower()), None)

    def _order(self, number: str) -> Placed | None:
        return self.orders.get(number.lower().lstrip("#"))

    def _put(self, order: Placed) -> None:
        self.orders[order.number.lower()] = order


NOT_FOUND: Result = {"error": "no such order"}


def stock(good: Good) -> str:
    """As the catalogue says it: `sold out`, `3 left`, `in stock`."""
    if good.left == 0:
        return "sold out"
    return f"{good.left} left" if good.left is not None and good.left < 10 else "in stock"


def plural(noun: str) -> str:
    """Of an English noun, simply."""
    if noun.endswith(("s", "x", "sh", "ch")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def singular(noun: str) -> str:
    """The noun that `plural` was given, else the same."""
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    if noun.endswith(("ses", "xes", "shes", "ches")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def _items(order: Placed) -> list[str]:
    return [f"{count} × {good.name}" for count, good in order.items]


def _digits(text: str) -> int:
    return 1000 + crc32(text.encode()) % 90_000
