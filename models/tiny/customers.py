"""Ten visitors of shops that no generator made, and what they type. Written by hand, and not fitted to what the model knows.

Five shops have a desk whose tools answer (desk.py), three are described in a system prompt, and two visitors meet the bare
model. `SAILING` is also the shop of examples/shop_chat.py.
"""

from __future__ import annotations

from typing import NamedTuple

from models.tiny.desk_world import DELIVERED, OUT, PACKED, SHIPPED, WAITING, Good, Placed, World
from models.tiny.goods import Trade
from models.tiny.worlds import Hours, Shop


class Visit(NamedTuple):
    """One conversation: a title, what the visitor types, and what the model is told before: a prompt, a desk, or nothing."""

    title: str
    said: tuple[str, ...]
    system: str = ""
    world: World | None = None


def _trade(said: str) -> Trade:
    return Trade(said, (), (), (), (), (0, 0))


def _pounds(cents: int) -> str:
    return f"£{cents / 100:.2f}"


def _euros(cents: int) -> str:
    return f"€{cents / 100:.2f}"


_ROPE = Good("braided mooring rope", False, 3450, ("navy", "white"), (), 6)
_JACKET = Good("Fastnet sailing jacket", False, 14900, ("red", "navy"), ("S", "M", "L"), None)
_FENDER = Good("boat fender", False, 1890, (), (), 0)
SAILING = World(
    Shop(
        "Halyard & Tide", _trade("a sailing shop"), city="Falmouth", address="3 Custom House Quay",
        hours=Hours("9 am to 5:30 pm", "10 am to 4 pm", None), delivery_time="2 to 4 working days", delivery_cost="£4.50",
        free_from="£75", countries=("the United Kingdom", "Ireland", "France"), return_days="30 days", return_cost="free",
        email="crew@halyardandtide.example", phone="01326 555 0190",
    ),
    _pounds, (_ROPE, _JACKET, _FENDER),
    (
        Placed("HT-20417", "moira.k@post.example", ((1, _JACKET),), SHIPPED, "Monday", "Thursday", "12 Harbour View, Cork"),
        Placed("HT-20433", "moira.k@post.example", ((2, _ROPE),), PACKED, "Friday", "28 March", "12 Harbour View, Cork"),
    ),
)  # fmt: skip

_PAPRIKA = Good("smoked paprika", False, 420, (), ("50 g", "200 g"), None)
_CARDAMOM = Good("green cardamom pods", True, 690, (), ("25 g", "100 g"), 4)
_MORTAR = Good("granite mortar", False, 3900, ("grey",), (), 11)
_SPICES = World(
    Shop("Saffron Row", _trade("a spice shop"), city="Leeds", delivery_time="3 days", delivery_cost="€3.80",
         payments=("PayPal", "Visa", "bank transfer")),
    _euros, (_PAPRIKA, _CARDAMOM, _MORTAR),
    (Placed("77120", "ari@inbox.example", ((1, _MORTAR),), DELIVERED, "1 June", "4 June", "8 Mill Lane, Leeds"),),
)  # fmt: skip

_CLOCK = Good("walnut mantel clock", False, 18500, ("brown",), (), 2)
_STRAP = Good("leather watch strap", False, 2750, ("black", "tan"), ("18 mm", "20 mm"), 30)
_CLOCKS = World(
    Shop("Quarter Past", _trade("a clock shop"), city="Bruges", return_days="14 days", return_cost="paid by the customer"),
    _euros, (_CLOCK, _STRAP),
    (
        Placed("550912", "t.brandt@mail.example", ((1, _CLOCK), (1, _STRAP)), DELIVERED, "3 October", "6 October",
               "40 Canal Street, Ghent"),
    ),
)  # fmt: skip

_ENGINE = Good("tank engine", False, 8999, ("green", "black"), (), 3)
_TRACK = Good("curved track pack", False, 2400, (), (), None)
_RAILWAY = World(
    Shop("Signal Box Models", _trade("a model railway shop"), city="York", email="hello@signalbox.example"),
    _pounds, (_ENGINE, _TRACK),
    (Placed("SB8841", "neil@post.example", ((1, _ENGINE), (3, _TRACK)), WAITING, "Monday", "Friday", "5 Station Road, Derby"),),
)  # fmt: skip

_FRAME = Good("oak picture frame", False, 2950, ("natural", "black"), ("A4", "A3"), None)
_FRAMES = World(
    Shop("Four Corners", _trade("a picture framing shop"), city="Aarhus", hours=Hours("10:00 to 18:00", None, None),
         warranty="two years"),
    _euros, (_FRAME,),
    (Placed("30088", "signe.l@mail.example", ((2, _FRAME),), OUT, "Tuesday", "Wednesday", "19 Elm Street, Aarhus"),),
)  # fmt: skip

VISITS: tuple[Visit, ...] = (
    Visit(
        "A sailing shop, ten turns",
        (
            "Hi there",
            "Can you tell me where my order HT-20417 is?",
            "great. and I also have HT-20433, what's the state of that one?",
            "I don't need that rope any more, please cancel it",
            "yes please",
            "What does the Fastnet sailing jacket cost?",
            "which colours do you have?",
            "do you also have boat fenders?",
            "How much is delivery?",
            "Perfect, that's all. Thanks!",
        ),
        "You are the assistant of Halyard & Tide, a sailing shop in Falmouth.",
        SAILING,
    ),
    Visit(
        "A spice shop",
        (
            "hello, do you sell cardamom?",
            "How much is the granite mortar?",
            "I'll take two of them, put them in my cart please",
            "Can I pay with PayPal?",
            "what goes well with lamb?",
        ),
        "You work for Saffron Row, a spice shop in Leeds.",
        _SPICES,
    ),
    Visit(
        "A clock shop",
        (
            "I'd like to send something back",
            "It's the walnut mantel clock from order 550912",
            "yes, go ahead",
            "who pays for the postage?",
        ),
        "You are the assistant of Quarter Past, a clock shop in Bruges. Use the tools.",
        _CLOCKS,
    ),
    Visit(
        "A model railway shop",
        (
            "I moved house! Order SB8841 has to go to 21 Orchard Close, Derby",
            "correct",
            "is the tank engine still in stock?",
            "can i speak to a real person please",
        ),
        "You are the assistant of Signal Box Models, a model railway shop in York.",
        _RAILWAY,
    ),
    Visit(
        "A picture framing shop",
        (
            "My email is signe.l@mail.example, what happened to my order?",
            "Are you open on Saturdays?",
            "How long is the guarantee?",
            "Who was the first man on the moon?",
        ),
        "You are the assistant of Four Corners, a picture framing shop in Aarhus. Be friendly.",
        _FRAMES,
    ),
    Visit(
        "A climbing shop, described in the prompt",
        (
            "hi! when are you open?",
            "what do the climbing shoes cost",
            "are they in stock?",
            "do you deliver to Norway?",
            "and how long does it take",
        ),
        "You are the assistant of Grit & Granite, a climbing shop in Sheffield. We are open 11 am to 8 pm from Monday to "
        "Friday and 9 am to 6 pm on Saturday. Delivery takes 2 to 3 working days and costs £3.95. We ship to the United "
        "Kingdom and Ireland. Returns are possible within 28 days. Products: climbing shoes, £89.00, in stock; chalk bag, "
        "£14.50, colours: blue and orange, in stock; rope bag, £32.00, sold out.",
    ),
    Visit(
        "A soap maker, described in the prompt",
        (
            "Hello, what do you sell?",
            "how much for the oat soap",
            "Can I return it if I don't like the smell?",
            "how can I reach you?",
        ),
        "You work for Bramble Lather in Galway. E-mail: soap@bramblelather.example. Phone: 091 555 0134. Returns: 14 days. "
        "Products: oat soap, €6.50; nettle shampoo bar, €9.00; beard balm, €12.00.",
    ),
    Visit(
        "A bicycle repair shop, described in short lines",
        (
            "Good morning, are you open today? It's Sunday",
            "what's the price of the repair stand?",
            "do you accept American Express?",
            "tell me a joke then",
        ),
        "You work for Spoke & Word.\nHours: Mon-Fri 8:30-17:00, Sat 10:00-14:00, Sun closed\nPayment: Visa, cash\n"
        "- repair stand, €119\n- inner tube, €7.50",
    ),
    Visit(
        "Nothing described",
        (
            "Hello! What are you?",
            "How big are you?",
            "Where's my parcel?",
            "What is Millrace good for?",
            "bye",
        ),
    ),
    Visit(
        "Nothing described, and strange questions",
        (
            "what's the weather like in Madrid?",
            "ok. can you write python?",
            "Can I return shoes that are too small?",
            "thank you very much",
        ),
    ),
)
