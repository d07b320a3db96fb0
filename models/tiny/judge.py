"""What is right about an answer of the model, beside the true answer of the generator. Pure.

- A call is right when it is the only one, of the right tool, with arguments that are equal as JSON.
- An answer is grounded when every number, date, time, id and name of it stands in the conversation before it, by the rule
  of `millrace eval` (docs/guides/evaluation.md), and so does every other word that is not one of the phrase files.
- It is right when it says the same as the true one: the same sentence of desk_answers.txt in any of its wordings, with the
  same values in the fields that both name; where the true one is of another file, with the same figures and names.
- A question out of scope is refused when nothing is called, the answer says that it cannot, and it is grounded.
Not covered: values that stand in the conversation but are put together wrongly are grounded; they are not right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

from models.tiny.desk_talk import ANSWERS
from models.tiny.goods import HELD_OUT_TRADES, TRADES
from models.tiny.phrases import read_phrases
from models.tiny.served import Answer
from models.tiny.tools import Call

from millrace.evaluation.grounding import ungrounded as made_up

TOKEN = re.compile(r"\w(?:[\w.,:/@'’&+-]*\w)?")
FIELD = re.compile(r"\{(\w+)\}")
CHOICE = re.compile(r"\[([^\[\]]*)\]")
REFUSAL = re.compile(
    r"(?i)\b(cannot|can't|can not|could not|beyond me|too much for|outside of what|rather not|nothing about|not possible|"
    r"no information|not know|only a small)\b(?! find)"
)
# Fields that hold no fact.
GRAMMAR = {"is_": "is|are", "is_c": "Is|Are", "costs": "costs?", "comes": "comes?", "left_are": "is|are"}
OURSELVES = "Millrace AI API Qwen English Chinese"
COMMON = "weekend cost payment methods weight one two three four five six seven eight nine ten eleven twelve"
DESK = ("desk_answers", "answers", "smalltalk")
ANYWHERE = (*DESK, "noshop", "millrace", "extras", "details", "chinese_noshop", "chinese_shop", "chinese_talk")


class Reading(NamedTuple):
    """A sentence of the desk found in an answer, and what its fields hold."""

    section: str
    fields: dict[str, str]


def calls_right(answer: Answer, wanted: Call | None) -> bool:
    """Exactly the one call that is due; no call where none is."""
    if wanted is None:
        return not answer.calls
    return len(answer.calls) == 1 and answer.calls[0].name == wanted.name and answer.calls[0].arguments == wanted.arguments


def ungrounded(said: str, sources: Sequence[str], files: tuple[str, ...] = DESK) -> list[str]:
    """What an answer says that neither the conversation nor the phrase files have. `Mondays` tells of `Monday`."""
    sources = [*sources, *(source.replace("days", "day") for source in sources)]
    known = _words(files).union(*(_tokens(_unescaped(source)) for source in sources))
    strange = [token for token in TOKEN.findall(said) if token.lower() not in known]
    return list(dict.fromkeys(made_up(said, [*sources, OURSELVES]) + strange))


def says_the_same(said: str, true: str) -> bool:
    """Whether two answers have the same meaning, as far as the phrase files tell."""
    readings = read_back(true)
    if not readings:
        return facts(said, DESK) == facts(true, DESK)
    return any(_agree(one, other) for one in readings for other in read_back(said))


def refuses(answer: Answer, sources: Sequence[str]) -> bool:
    return not answer.calls and bool(REFUSAL.search(answer.text)) and not ungrounded(answer.text, sources)


def read_back(said: str) -> list[Reading]:
    """The sentences of the desk that an answer may be: of all that fit, those that leave least to their fields."""
    found = [(section, fit.groupdict()) for section, pattern in _patterns() if (fit := pattern.fullmatch(said))]
    least = min((_length(fields) for _, fields in found), default=0)
    return [Reading(section, fields) for section, fields in found if _length(fields) == least]


def _agree(one: Reading, other: Reading) -> bool:
    shared = one.fields.keys() & other.fields.keys()
    return one.section == other.section and all(one.fields[name] == other.fields[name] for name in shared)


def _length(fields: dict[str, str]) -> int:
    return sum(map(len, fields.values()))


def facts(said: str, files: tuple[str, ...]) -> set[str]:
    """The figures and names of an answer: what the phrase files do not have."""
    return _tokens(said) - _words(files)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (section, _pattern(wording)) for section, lines in ANSWERS.items() for line in lines for wording in wordings(line)
    )


def wordings(line: str) -> Iterable[str]:
    """Every sentence that a line of a phrase file without nested choices stands for."""
    parts = [part.split("|") if place % 2 else [part] for place, part in enumerate(CHOICE.split(line))]
    return {re.sub(r" {2,}", " ", "".join(chosen)).strip() for chosen in product(*parts)}


def _pattern(wording: str) -> re.Pattern[str]:
    seen: set[str] = set()
    parts = []
    for place, part in enumerate(FIELD.split(wording)):
        if place % 2 == 0:
            parts.append(re.escape(part))
        elif part in GRAMMAR:
            parts.append(f"(?:{GRAMMAR[part]})")
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>.+?)")
            seen.add(part)
    return re.compile("".join(parts))


@cache
def _words(files: tuple[str, ...]) -> frozenset[str]:
    """The words of phrase files, the names of the subjects that are refused, and what kinds of shops there are."""
    lines = [COMMON, *read_phrases("out_of_scope"), *(trade.said for trade in (*TRADES, *HELD_OUT_TRADES))]
    for file in files:
        lines += [line for section in read_phrases(file).values() for line in section]
    return frozenset(token for line in lines for token in _tokens(FIELD.sub(" ", re.sub(r"[\[\]|]", " ", line))))


def _tokens(text: str) -> set[str]:
    return {token.lower() for token in TOKEN.findall(text)}


def _unescaped(told: str) -> str:
    r"""With what JSON writes as \u20ac as its characters too."""
    return told + "\n" + re.sub(r"\\u([0-9a-f]{4})", lambda found: str(json.loads(f'"{found[0]}"')), told)
