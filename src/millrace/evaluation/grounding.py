"""Whether what an answer says stands in what the model was given; pure.

Theory of operation. An answer is taken apart into facts (facts.py) and names; each has to occur in the sources, which are
taken apart in the same way. A name is a run of words that begin with a capital, compared word for word and without regard to
case: 'Blue Heron Mug' has to stand together in one source. The first word of a sentence or of a line says nothing by its
capital and is passed over, as are words that are no names wherever they stand (FUNCTION_WORDS) and a possessive 's. Nothing
else is taken off: 'Mugs' is not 'Mug'. Where a source is JSON, its values are read one after the other, its keys by themselves.

An answer's date is met by a date of the same day (and year, if it says one), an ordinal (23rd) also by a date's day, a month
alone also by a date in it, a year alone also by a date's year.

Not covered: a name of one word at the begin of a sentence, scripts without capitals, and whether what stands in the sources
is said of the right thing: this finds what was made up, not what was mixed up.
"""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from millrace.evaluation.facts import MONTHS, WORDS, Fact, facts, normal, without_markers

_FUNCTION_WORDS: Final = (
    "a an the this that these those it its i i'm i'll i've i'd you your we our they their he she his her my me us and or "
    "but if so in on at to for of with from by as is are was were be do does can could will would may not no yes please "
    "thank thanks sorry hello hi dear here there what which who when where how all each both mr mrs ms dr ok"
)
FUNCTION_WORDS: Final = frozenset(_FUNCTION_WORDS.split())

_WORD: Final = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_BEGINS: Final = re.compile(r"(?:^|[.!?…][\"')\]*_]*\s|\n)[\s\"'“”‘(\[*_#>|-]*\Z")
_OPENING: Final = 80
"""Characters before a word that are looked at for the begin of its sentence."""


class _Ground(NamedTuple):
    """What the sources have."""

    days: frozenset[tuple[int | None, int, int]]
    times: frozenset[str]
    numbers: frozenset[Decimal]
    ids: frozenset[str]
    words: str
    """Lower case, a blank between two words, a bar between two texts."""


def ungrounded(answer: str, sources: Sequence[str], *, numbers: bool = True, names: bool = True) -> list[str]:
    """What the answer says and no source has, as it stands in the answer, in its order. Empty: it is grounded."""
    ground = _ground(sources)
    found, rest = facts(normal(without_markers(answer)))
    missing = [fact.text for fact in found if not _is_met(fact, ground)] if numbers else []
    if names:
        missing += [name for name in _names(rest) if f" {_plain(name)} " not in ground.words]
    return list(dict.fromkeys(missing))


def _is_met(fact: Fact, ground: _Ground) -> bool:
    return any(_has(fact.kind, meaning, ground) for meaning in fact.means)


def _has(kind: str, meaning: Any, ground: _Ground) -> bool:
    match kind:
        case "date":
            year, *day = meaning
            return any(day == [*have[1:]] and year in (None, have[0]) for have in ground.days)
        case "time":
            return meaning in ground.times
        case "id":
            return meaning in ground.ids
        case "nth":
            return meaning in ground.numbers or any(day == meaning for _, _, day in ground.days)
        case _:
            return meaning in ground.numbers or any(year == meaning for year, _, _ in ground.days)


def _ground(sources: Sequence[str]) -> _Ground:
    texts = [normal(text) for source in sources for text in _texts(source)]
    found = [fact for text in texts for fact in facts(text)[0]]

    def meanings(*kinds: str) -> frozenset[Any]:
        return frozenset(meaning for fact in found if fact.kind in kinds for meaning in fact.means)

    days = meanings("date")
    words = [_plain(text) for text in texts]
    spelled = {WORDS[word] for text in words for word in text.split() if word in WORDS}
    months = [MONTHS[month - 1] for _, month, _ in days if 1 <= month <= len(MONTHS)]
    return _Ground(days, meanings("time"), meanings("number", "nth") | spelled, meanings("id"), _joined([*words, *months]))


def _joined(texts: Sequence[str]) -> str:
    return "".join(f" {text} |" for text in texts)


def _texts(source: str) -> Iterator[str]:
    """A source as texts: itself, or of JSON its values as one and each key."""
    try:
        value = json.loads(source, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        yield source
        return
    keys: list[str] = []
    yield "\n".join(_values(value, keys))
    yield from keys


def _values(value: Any, keys: list[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            keys.append(key)
            yield from _values(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, keys)
    elif isinstance(value, str):
        yield value


def _plain(text: str) -> str:
    """The words of a text as they are compared."""
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"'s\b", "", text.casefold())))


def _names(text: str) -> Iterator[str]:
    """The runs of capitalised words, in order."""
    run: list[str] = []
    end = 0
    for match in _WORD.finditer(text):
        if run and text[end : match.start()] != " ":
            yield " ".join(run)
            run = []
        end = match.end()
        if match[0][0].isupper() and match[0].casefold() not in FUNCTION_WORDS and not _begins(text, match.start()):
            run.append(match[0].removesuffix("'s"))
        elif run:
            yield " ".join(run)
            run = []
    if run:
        yield " ".join(run)


def _begins(text: str, at: int) -> bool:
    """Whether a sentence or a line begins there."""
    return _BEGINS.search(text[max(0, at - _OPENING) : at]) is not None if at else True
