"""Reads the clean-licence dialogue sets: phrases of real customers by topic, and whole service dialogues.

Used: CLINC150 (CC BY 3.0) and banking77 (CC BY 4.0), train splits only, as what customers say; Taskmaster-4 (CC BY 4.0)
and STAR (MIT) as whole dialogues with tool calls. Share-alike sets, held-out splits and queries kept for tests are not
read. The recipe also runs without this folder.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.tiny.conversation import Dialogue, Turn

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


def read_services(folder: Path) -> list[Dialogue]:
    """Service dialogues with tool calls in the ChatML manner; those that went wrong are left out."""
    found = []
    for name, job in (("taskmaster4", "You take orders in a coffee shop."), ("star", "You are a service desk.")):
        for row in _rows(folder / "dialogues" / f"{name}.jsonl.gz"):
            if row.get("happy", True) and row.get("complete", True):
                turns = _turns(row["turns"])
                found.append((Turn("system", f"{job} You can call: {', '.join(_tools(row['turns']))}."), *turns))
    return [dialogue for dialogue in found if sum(len(turn.text) for turn in dialogue) < 2600]


def _rows(path: Path) -> Iterator[Any]:
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _tools(turns: list[Any]) -> list[str]:
    return sorted({turn["name"] for turn in turns if turn["role"] == "tool_call"}) or ["nothing"]


def _turns(turns: list[Any]) -> list[Turn]:
    """Calls as the assistant's `<tool_call>`, results as a user's `<tool_response>`; equal roles in a row join."""
    joined: list[Turn] = []
    for turn in turns:
        new = _turn(turn)
        if joined and joined[-1].role == new.role:
            joined[-1] = Turn(new.role, f"{joined[-1].text}\n{new.text}")
        else:
            joined.append(new)
    return joined


def _turn(turn: Any) -> Turn:
    if turn["role"] == "tool_call":
        call = json.dumps({"name": turn["name"], "arguments": turn["arguments"]}, ensure_ascii=False)
        return Turn("assistant", f"<tool_call>\n{call}\n</tool_call>")
    if turn["role"] == "tool_result":
        return Turn("user", f"<tool_response>\n{json.dumps(turn['result'], ensure_ascii=False)}\n</tool_response>")
    return Turn(turn["role"], turn["text"].strip())
