"""Does an answer pass? Each rule is a function of case and answer; pure, and without a bound on its time (bounded.py)."""

import json
import re
import unicodedata
from typing import Any, assert_never

from msgspec import Struct

from millrace.client.answers import CalledFunction, ChatAnswer
from millrace.evaluation.grounding import ungrounded
from millrace.evaluation.rules import All, Exact, Expectation, Grounded, JsonSchema, NoToolCall, Regex, ToolCall
from millrace.evaluation.schemas import why_invalid
from millrace.evaluation.suite import Case


class Score(Struct, frozen=True):
    """`why` says what was missed, and is empty where the answer passed."""

    passed: bool
    why: str = ""


def score(case: Case, answer: ChatAnswer) -> Score:
    """Judge an answer to a case."""
    why = _why_not(case.expect, case, answer)
    return Score(passed=why is None, why=why or "")


def _why_not(rule: Expectation, case: Case, answer: ChatAnswer) -> str | None:
    """What was missed; None: nothing."""
    match rule:
        case Exact():
            return _exact(rule, answer.text)
        case Regex(pattern=pattern):
            return None if re.search(pattern, answer.text) else f"nothing matches {pattern}"
        case JsonSchema(schema=schema):
            return why_invalid(answer.text, schema)
        case ToolCall():
            return _tool_call(rule, answer.calls)
        case NoToolCall():
            return f"called {_called(answer.calls)}" if answer.calls else None
        case Grounded():
            return _grounded(rule, case, answer.text)
        case All(of=rules):
            return next((why for one in rules if (why := _why_not(one, case, answer)) is not None), None)
        case _:
            assert_never(rule)


def _exact(rule: Exact, text: str) -> str | None:
    wanted = (rule.text,) if isinstance(rule.text, str) else rule.text
    said = _normal(text, rule)
    return None if any(said == _normal(one, rule) for one in wanted) else f"expected {' or '.join(map(repr, wanted))}"


def _normal(text: str, rule: Exact) -> str:
    if "width" in rule.normalise:
        text = unicodedata.normalize("NFKC", text)
    if "case" in rule.normalise:
        text = text.casefold()
    if "punctuation" in rule.normalise:
        text = "".join(letter for letter in text if not unicodedata.category(letter).startswith("P"))
    if "space" in rule.normalise:
        text = " ".join(text.split())
    return text


def _tool_call(rule: ToolCall, calls: tuple[CalledFunction, ...]) -> str | None:
    wanted = f"expected {rule.name}({json.dumps(rule.arguments, ensure_ascii=False)})"
    if not calls:
        return f"{wanted}, and nothing was called"
    if rule.match == "exact" and len(calls) > 1:
        return f"{wanted} alone, and called {_called(calls)}"
    return None if any(_is_call(call, rule) for call in calls) else f"{wanted}, and called {_called(calls)}"


def _is_call(call: CalledFunction, rule: ToolCall) -> bool:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return False
    return call.name == rule.name and _matches(arguments, rule.arguments, rule.match == "subset")


def _matches(said: Any, wanted: Any, subset: bool) -> bool:
    """Equal as JSON: 2 is 2.0, and true is not 1. With `subset` an object may have more than is wanted."""
    if isinstance(wanted, dict) and isinstance(said, dict):
        enough = said.keys() >= wanted.keys() if subset else said.keys() == wanted.keys()
        return enough and all(_matches(said[key], value, subset) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(said, list):
        return len(said) == len(wanted) and all(_matches(*pair, subset) for pair in zip(said, wanted, strict=True))
    return isinstance(said, bool) == isinstance(wanted, bool) and bool(said == wanted)


def _called(calls: tuple[CalledFunction, ...]) -> str:
    return ", ".join(f"{call.name}({call.arguments})" for call in calls)


def _grounded(rule: Grounded, case: Case, text: str) -> str | None:
    if not text.strip():
        return "there is no text that could be grounded"
    missing = ungrounded(text, case.sources(rule.within), numbers=rule.numbers, names=rule.names)
    return f"not in the {rule.within}: {', '.join(missing)}" if missing else None
