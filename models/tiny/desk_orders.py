"""What customers want of an order: to know where it is, to cancel, return or redirect it."""

from __future__ import annotations

from models.tiny.desk import NOT_FOUND, Result
from models.tiny.desk_talk import DeskTalk
from models.tiny.desk_world import (
    CANCELLED,
    DELIVERED,
    OPEN,
    OUT,
    PACKED,
    RETURNED,
    SHIPPED,
    WAITING,
    Placed,
    an_address,
    an_email,
)
from models.tiny.spin import join_words
from models.tiny.worlds import order_number

_SECTIONS = {
    WAITING: "order_waiting", PACKED: "order_packed", SHIPPED: "order_shipped", OUT: "order_out",
    DELIVERED: "order_delivered", CANCELLED: "order_cancelled", RETURNED: "order_returned",
}  # fmt: skip


def track(talk: DeskTalk) -> None:
    """Where an order is; its number may have to be asked for, or found by the e-mail address."""
    rng = talk.rng
    number = _number(talk)
    if rng.random() < 0.6:
        talk.ask("order_with_number", number=number)
    else:
        talk.ask("order_no_number")
        by_email = talk.has("find_orders")
        talk.say("ask_number_or_email" if by_email and rng.random() < 0.7 else "ask_number")
        if by_email and rng.random() < 0.35:
            return _by_email(talk, "email_only")
        talk.ask("number_only", number=number)
    found = talk.call("get_order", number)
    told_order(talk, number, found)
    if found == NOT_FOUND:
        return None
    if rng.random() < 0.25:
        return _another(talk)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        _asked_next(talk, found)
    return _changed_next(talk, found) if rng.random() < 0.45 else None


def _another(talk: DeskTalk) -> None:
    """A second order in the same breath; what is wanted next is about that one."""
    number = _number(talk)
    talk.ask("other_next", number=number)
    found = talk.call("get_order", number)
    told_order(talk, number, found)
    if found != NOT_FOUND and talk.rng.random() < 0.5:
        _changed_next(talk, found)


def _asked_next(talk: DeskTalk, found: Result) -> None:
    """What the tool has told already is not asked again."""
    number = found["order_id"]
    kind = talk.rng.choice(("items", "total", "arrives"))
    talk.ask(f"{kind}_next")
    if kind == "items":
        return talk.say("order_items", number=number, items=join_words(found["items"]))
    if kind == "total":
        return talk.say("order_total", number=number, total=found["total"])
    return told_order(talk, number, found)


def _changed_next(talk: DeskTalk, found: Result) -> None:
    """The order that was looked at is to be cancelled, returned or redirected."""
    wants = [task for task in ("cancel_order", "return_item", "change_address") if talk.has(task)]
    want = talk.rng.choice(wants) if wants else ""
    if want == "cancel_order":
        talk.ask("cancel_next")
        _confirm_cancel(talk, found)
    if want == "return_item":
        name = talk.typed(talk.rng.choice(found["items"]).partition(" × ")[2])
        talk.ask("return_next", name=name)
        _confirm_return(talk, found, name)
    if want == "change_address":
        address = talk.typed(an_address(talk.rng))
        talk.ask("address_next", address=address)
        _confirm_address(talk, found, address)


def told_order(talk: DeskTalk, number: str, found: Result) -> None:
    if found == NOT_FOUND:
        return talk.say("order_not_found", number=number)
    arrives = found.get("arrives_on") or found.get("delivered_on") or ""
    return talk.say(
        _SECTIONS[found["status"]], number=found["order_id"], items=join_words(found["items"]), total=found["total"],
        shipped=found.get("shipped_on", ""), arrives=arrives,
    )  # fmt: skip


def orders_of(talk: DeskTalk) -> None:
    _by_email(talk, "orders_by_email")


def _by_email(talk: DeskTalk, section: str) -> None:
    rng = talk.rng
    email = rng.choice(talk.world.orders).email if rng.random() < 0.85 else an_email(rng)
    talk.ask(section, email=email)
    orders = talk.call("find_orders", email)["orders"]
    if not orders:
        return talk.say("orders_none", email=email)
    first = orders[0]
    if len(orders) == 1:
        talk.say("orders_one", number=first["order_id"], status=first["status"], email=email)
    else:
        listed = join_words([f"{one['order_id']} ({one['status']})" for one in orders])
        talk.say("orders_more", list=listed, email=email)
    if talk.has("get_order") and rng.random() < 0.4:
        number = rng.choice(orders)["order_id"]
        talk.ask("order_with_number", number=number)
        told_order(talk, number, talk.call("get_order", number))
    return None


def cancel(talk: DeskTalk) -> None:
    """Nothing is cancelled before the order was looked at and the customer has said yes."""
    number = _number(talk)
    if talk.rng.random() < 0.7:
        talk.ask("cancel_with_number", number=number)
    else:
        talk.ask("cancel_no_number")
        talk.say("ask_number")
        talk.ask("number_only", number=number)
    found = talk.call("get_order", number)
    if found == NOT_FOUND:
        return talk.say("order_not_found", number=number)
    return _confirm_cancel(talk, found)


def _confirm_cancel(talk: DeskTalk, found: Result) -> None:
    number, status = found["order_id"], found["status"]
    if status in (CANCELLED, RETURNED):
        return talk.say("cancel_already", number=number, status=status)
    if status not in OPEN:
        return talk.say("cancel_too_late", number=number, status=status)
    talk.say("cancel_confirm", number=number, items=join_words(found["items"]), total=found["total"], status=status)
    if talk.rng.random() < 0.2:
        talk.ask("deny")
        return talk.say("left_as_it_is", number=number)
    talk.ask("confirm")
    done = talk.call("cancel_order", number)
    if "refund" in done:
        return talk.say("cancelled", number=number, refund=done["refund"])
    return talk.say("cancelled_unpaid", number=number)


def send_back(talk: DeskTalk) -> None:
    """Nothing is returned before the order was looked at and the customer has said yes."""
    rng = talk.rng
    order = _order(talk)
    good = rng.choice(order.items)[1] if rng.random() < 0.85 else rng.choice(talk.world.goods)
    number, name = talk.typed(order.number), talk.typed(good.name)
    if rng.random() < 0.35:
        talk.ask("return_no_number")
        talk.say("ask_return")
        talk.ask("return_details", number=number, name=name)
    else:
        talk.ask("return_with_number", number=number, name=name)
    _confirm_return(talk, talk.call("get_order", number), name)


def _confirm_return(talk: DeskTalk, found: Result, name: str) -> None:
    number, status = found["order_id"], found["status"]
    if not any(item.lower().endswith(f"× {name.lower()}") for item in found["items"]):
        return talk.say("return_not_in_order", name=name, number=number, items=join_words(found["items"]))
    if status in (CANCELLED, RETURNED):
        return talk.say("return_already", number=number, status=status)
    if status != DELIVERED:
        return talk.say("return_not_delivered", number=number, status=status)
    talk.say("return_confirm", name=name, number=number)
    if talk.rng.random() < 0.15:
        talk.ask("deny")
        return talk.say("left_as_it_is", number=number)
    talk.ask("confirm")
    done = talk.call("return_item", number, name)
    return talk.say("returned", return_id=done["return_id"], email=done["label_sent_to"])


def redirect(talk: DeskTalk) -> None:
    """Nothing is sent elsewhere before the order was looked at and the customer has said yes."""
    rng = talk.rng
    address, number = talk.typed(an_address(rng)), talk.typed(_order(talk).number)
    if rng.random() < 0.3:
        talk.ask("address_no_number")
        talk.say("ask_address")
        talk.ask("address_details", number=number, address=address)
    else:
        talk.ask("address_with_number", number=number, address=address)
    _confirm_address(talk, talk.call("get_order", number), address)


def _confirm_address(talk: DeskTalk, found: Result, address: str) -> None:
    number = found["order_id"]
    if found["status"] not in OPEN:
        return talk.say("address_too_late", number=number, status=found["status"])
    talk.say("address_confirm", number=number, address=address)
    if talk.rng.random() < 0.15:
        talk.ask("deny")
        return talk.say("left_as_it_is", number=number)
    talk.ask("confirm")
    talk.call("change_address", number, address)
    return talk.say("address_changed", number=number, address=address)


def _order(talk: DeskTalk) -> Placed:
    """One of the orders as it stands now."""
    return talk.rng.choice(list(talk.desk.orders.values()))


def _number(talk: DeskTalk) -> str:
    """An order's number as the customer types it; one in eight is no order here."""
    rng = talk.rng
    number = _order(talk).number if rng.random() < 0.88 else order_number(rng)
    return talk.typed(number)
