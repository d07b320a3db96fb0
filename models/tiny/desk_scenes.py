"""Scenes at a shop's desk: conversations with tools, correct by construction, each to be replayed against the desk.

`make_scene(rng, names, held_out=True)` gives those of the examination: trades, product names and phrasings that training
never sees. Nothing is random but the `rng` that is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from models.tiny.conversation import Heard, fillings
from models.tiny.desk import Desk, make_tools
from models.tiny.desk_goods import cart, find, policy, product
from models.tiny.desk_orders import cancel, orders_of, redirect, send_back, track
from models.tiny.desk_talk import DeskTalk
from models.tiny.desk_world import Names, World, make_world
from models.tiny.spin import pick
from models.tiny.tools import Scene
from models.tiny.topics_talk import about_self, chat, close, greet, out_of_scope, who
from models.tiny.worlds import OPENINGS

Topic = Callable[[DeskTalk], None]
WORDS_MAX = 330  # about: a scene has to fit into 1,024 tokens
NO_NAMES = Names()


def human(talk: DeskTalk) -> None:
    talk.ask("human")
    if not talk.has("hand_over"):
        return talk.say("human_alone")
    return talk.say("handed_over", ticket=talk.call("hand_over")["ticket"])


def trouble(talk: DeskTalk) -> None:
    talk.ask("trouble", thing_noun=talk.rng.choice(talk.world.goods).name)
    if not talk.has("hand_over"):
        return talk.say("trouble_alone")
    return talk.say("trouble_handed_over", ticket=talk.call("hand_over")["ticket"])


def not_here(talk: DeskTalk) -> None:
    """What no tool of this desk does."""
    fields = fillings(talk.rng)
    talk.ask("not_here", thing=fields["thing_noun"], year=str(talk.rng.randint(2019, 2026)))
    talk.say("not_here")


def aside(talk: DeskTalk) -> None:
    """Small talk, or a question that is none of a shop's business."""
    talk.small(talk.rng.choice((who, about_self, chat, *(out_of_scope,) * 9)))


TOPICS: tuple[tuple[float, tuple[str, ...], Topic], ...] = (
    (4, ("get_order",), track), (1.2, ("find_orders",), orders_of), (2.2, ("get_order", "cancel_order"), cancel),
    (2.2, ("get_order", "return_item"), send_back), (2.2, ("get_order", "change_address"), redirect),
    (4, ("get_product",), product), (2.6, ("find_products",), find), (1.8, ("add_to_cart",), cart),
    (3, ("get_policy",), policy), (1.2, (), human), (1.6, (), trouble), (1.4, (), not_here), (5, (), aside),
)  # fmt: skip
"""Weight, the tools that it needs, and what happens."""


def make_scene(rng: random.Random, names: Names = NO_NAMES, *, held_out: bool = False, heard: Heard | None = None) -> Scene:
    """One scene; the same state of `rng` gives the same one."""
    return _scene(rng, names, held_out, heard or {})[0]


def replays(rng: random.Random, names: Names = NO_NAMES, *, held_out: bool = False) -> bool:
    """Whether every call of the scene, made again at a fresh desk, gives the result that the scene tells."""
    scene, world = _scene(rng, names, held_out, {})
    return results(scene, world) == [turn.text for turn in scene.turns if turn.role == "tool"]


def results(scene: Scene, world: World) -> list[str]:
    """What the scene's calls give at a fresh desk, written as the scene writes it."""
    talk = DeskTalk(random.Random(0), world, scene.tools)
    by_name = {tool.name: tool for tool in scene.tools}
    told = [turn.text for turn in scene.turns if turn.role == "tool"]
    talk.spaced = any('": ' in text for text in told)
    talk.escaped = any("\\u" in text for text in told)
    desk = Desk(world)
    return [talk.written(desk.answer(by_name[turn.call.name], turn.call.arguments)) for turn in scene.turns if turn.call]


def _scene(rng: random.Random, names: Names, held_out: bool, heard: Heard) -> tuple[Scene, World]:
    world = make_world(rng, names, held_out)
    chosen = [rng.choices(TOPICS, [weight for weight, _, _ in TOPICS])[0] for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    tools = make_tools(rng, frozenset(task for _, needed, _ in chosen for task in needed))
    system = _system(rng, world)
    if not system:
        world = replace(world, shop=replace(world.shop, name="Our shop"))
    talk = DeskTalk(rng, world, tools, held_out, named=bool(system), heard=heard)
    if rng.random() < 0.25:
        talk.small(greet)
    for _, _, topic in chosen:
        if talk.words() < WORDS_MAX:
            topic(talk)
    if rng.random() < 0.3:
        talk.small(close)
    return Scene(system, tools, tuple(talk.turns)), world


def _system(rng: random.Random, world: World) -> str:
    if rng.random() < 0.12:
        return ""
    shop = world.shop
    place = f" in {shop.city}" if shop.city else ""
    opening = pick(rng, OPENINGS, name=shop.name, trade=shop.trade.said, place=place)
    return f"{opening} {pick(rng, ('[|||Use the tools.|Answer briefly.|Be friendly.]',))}".strip()


