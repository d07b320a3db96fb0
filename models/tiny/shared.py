"""Reads the clean-licence dialogue sets: phrases of real customers by topic, and whole service dialogues.

Used: names of products of Online Retail II (CC BY 4.0); CLINC150 (CC BY 3.0) and banking77 (CC BY 4.0), train splits only,
as what customers say; Taskmaster-4 (CC BY 4.0) and STAR (MIT) as whole dialogues with tool calls. Share-alike sets, held-out
splits and queries kept for tests are not read. The recipe also runs without this folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from models.tiny.desk_world import Names
from models.tiny.tools import Call, Parameter, Said, Scene, Tool

PRODUCT_NAME = re.compile(r"[a-z]{3,}( [a-z]{2,}){1,3}")
INTENTS = {
    "order_status": "order_status",
    "goodbye": "byes",
    "thank_you": "thanks",
    "tell_joke": "joke",
    "who_made_you": "maker",
    "are_you_a_bot": "bot",
    "do_you_have_pets": "hobbies",
    "what_are_your_hobbies": "hobbies",
    "greeting": "how_are_you",
    "how_old_are_you": "age",
    "what_is_your_name": "who",
    "what_can_i_ask_you": "can_do",
    "where_are_you_from": "maker",
    "who_do_you_work_for": "maker",
    "weather": "time_now",
    "time": "time_now",
    "date": "time_now",
    "calculator": "maths",
    "measurement_conversion": "maths",
    "definition": "general knowledge",
    "oos": "general knowledge",
    "meaning_of_life": "general knowledge",
    "fun_fact": "general knowledge",
    "translate": "translation",
    "recipe": "recipes",
    "cook_time": "recipes",
    "ingredients_list": "recipes",
    "meal_suggestion": "recipes",
    "calories": "recipes",
    "nutrition_info": "recipes",
    "vaccines": "medical questions",
    "taxes": "legal questions",
}
DOMAINS = {
    "banking": "bank accounts and cards",
    "credit_cards": "bank accounts and cards",
    "auto_and_commute": "cars and traffic",
    "travel": "travel",
    "kitchen_and_dining": "restaurants",
    "work": "your work and your pay",
    "home": "your devices and accounts",
    "utility": "your devices and accounts",
}
NOT_USED = {
    "order",
    "yes",
    "no",
    "maybe",
    "cancel",
    "repeat",
    "exchange_rate",
}  # their answers need more than the phrase


def shared_folder(text: str) -> Path:
    """A folder named on the command line. One without the sets is refused: nothing would be read from it, silently."""
    folder = Path(text)
    if not (folder / "dialogues").is_dir():
        raise argparse.ArgumentTypeError(f"{text} has no folder `dialogues`; leave --shared out to go without the sets")
    return folder


def read_heard(folder: Path) -> dict[str, list[str]]:
    """Phrases by topic of dialogues.py; empty when the folder is not there."""
    heard: dict[str, list[str]] = {}
    for row in _rows(folder / "dialogues" / "intents_clinc150.jsonl.gz"):
        topic = INTENTS.get(row["intent"]) or DOMAINS.get(row.get("domain") or "")
        if row["split"] == "train" and topic and row["intent"] not in NOT_USED:
            heard.setdefault(topic, []).append(row["text"])
    for row in _rows(folder / "dialogues" / "intents_banking77.jsonl.gz"):
        if row["split"] == "train" and "efund" not in row["intent"]:
            heard.setdefault("bank accounts and cards", []).append(row["text"])
    return heard


def read_out_of_scope(folder: Path) -> list[str]:
    """Questions for examination that nobody's service answers: `oos` of CLINC150's test split."""
    rows = _rows(folder / "dialogues" / "intents_clinc150.jsonl.gz")
    return [row["text"] for row in rows if row["split"] == "test" and row["intent"] == "oos"]


def read_names(folder: Path) -> Names:
    """Names of products of a real shop in small letters (Online Retail II, CC BY 4.0); every tenth is for examination."""
    path = folder / "online_retail" / "online_retail.parquet"
    if not path.exists():
        return Names()
    import duckdb

    rows = duckdb.read_parquet(str(path)).project("lower(trim(Description))").distinct().fetchall()
    names = sorted(name for (name,) in rows if name and PRODUCT_NAME.fullmatch(name))
    held_out = [name for name in names if crc32(name.encode()) % 10 == 0]
    return Names([name for name in names if crc32(name.encode()) % 10], held_out)


def read_services(folder: Path, *, held_out: bool = False) -> list[Scene]:
    """Service scenes with calls: Taskmaster-4 and STAR; of the first, `held_out`, the scenarios kept for examination."""
    coffee = [row for row in _rows(folder / "dialogues" / "taskmaster4.jsonl.gz") if _is_kept(row["scenario"]) == held_out]
    scenes = [Scene("You take orders in a coffee shop.", COFFEE_TOOLS, _turns(row["turns"])) for row in coffee]
    if not held_out:
        went_well = [
            row
            for row in _rows(folder / "dialogues" / "star.jsonl.gz")
            if row.get("happy", True) and row.get("complete", True)
        ]
        scenes += [Scene("You are a service desk.", _tools(row["turns"]), _turns(row["turns"])) for row in went_well]
    return [scene for scene in scenes if sum(len(turn.text) for turn in scene.turns) < 2600]


def _is_kept(scenario: str) -> bool:
    """About every fifth of Taskmaster-4's 32 scenarios is for examination."""
    return crc32(scenario.encode()) % 5 == 0


COFFEE_TOOLS = (
    Tool("get_menu_items", (Parameter("query"), Parameter("fields", "array", required=False))),
    Tool("get_addons", (Parameter("query"), Parameter("menu_item_id", required=False), Parameter("scope", required=False))),
    Tool(
        "add_order_item",
        (
            Parameter("menu_item_id"), Parameter("quantity"), Parameter("attributes", "array", required=False),
            Parameter("addons", "array", required=False), Parameter("order_id", required=False),
            Parameter("notes", required=False),
        ),
    ),
    Tool("get_order_details", (Parameter("order_id"),)),
    Tool("update_order", (Parameter("order_id"), Parameter("attributes", "array"))),
    Tool(
        "update_order_item",
        (
            Parameter("order_item_id"), Parameter("addons", "array", required=False),
            Parameter("attributes", "array", required=False),
        ),
    ),
    Tool("finish_order", (Parameter("order_id"),)),
    Tool("show_menu", ()),
)  # fmt: skip
"""The calls of Taskmaster-4, with the arguments that occur in them."""


def _rows(path: Path) -> Iterator[Any]:
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _tools(turns: list[Any]) -> tuple[Tool, ...]:
    """Of a dialogue that comes without declarations: what it calls, with the arguments it gives."""
    named: dict[str, dict[str, None]] = {}
    for turn in turns:
        if turn["role"] == "tool_call":
            named.setdefault(turn["name"], {}).update(dict.fromkeys(turn["arguments"]))
    return tuple(Tool(name, tuple(Parameter(one, required=False) for one in names)) for name, names in named.items())


def _turns(turns: list[Any]) -> tuple[Said, ...]:
    """Equal roles that speak in a row join."""
    joined: list[Said] = []
    for turn in turns:
        new = _turn(turn)
        if joined and new.call is None and joined[-1].call is None and joined[-1].role == new.role != "tool":
            joined[-1] = Said(new.role, f"{joined[-1].text}\n{new.text}")
        else:
            joined.append(new)
    return tuple(joined)


def _turn(turn: Any) -> Said:
    if turn["role"] == "tool_call":
        return Said("assistant", "", Call(turn["name"], turn["arguments"]))
    if turn["role"] == "tool_result":
        return Said("tool", json.dumps(turn["result"], ensure_ascii=False))
    return Said(turn["role"], turn["text"].strip())
