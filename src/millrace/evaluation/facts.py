"""What of a text can be checked against another: dates, times of day, numbers and ids; pure.

A date is a day of a month, with or without its year, in figures or with the month's name. A time is 14:30 or 2:30 pm. An id
is a word with letters and digits (A-1042, req_01k8, iPhone15). Any other figures are a number; a sign of currency, a unit of
up to three letters right behind it (5kg, 20%) and a word hung on by a hyphen (3-day) are not part of it. 1,234.50, 1.234,50
and 1'234.5 are one number; 1.234 alone is a little more than one. Signs count for nothing: 3-5 are the numbers 3 and 5.

Not covered: numbers written as words in the text that is checked ('three'), the unit behind a number, what is computed.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Final, NamedTuple

Day = tuple[int | None, int, int]
"""Year if it is said, month, day."""

MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip

WORDS: Final = {
    word: Decimal(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
"""Read in what a fact is checked against, so that 'two left' grounds 2."""

_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_NTH: Final = r"(?:st|nd|rd|th)"
_FACT: Final = re.compile(
    rf"""(?ix)(?<!\w)(?:
      (?P<iso>\d{{4}}-\d{{2}}-\d{{2}})(?!\d|-\d)(?:T(?P<clock>\d{{2}}:\d{{2}})[\d:.]*(?:Z|[+-]\d{{2}}:?\d{{2}})?)?
    | (?P<day_month>\d{{1,2}}{_NTH}?(?:\s+of)?\s+{_MONTH}(?:,?\s+\d{{4}}\b)?)
    | (?P<month_day>{_MONTH}\s+\d{{1,2}}{_NTH}?(?!\d|[.,]\d)(?:,?\s+\d{{4}}\b)?)
    | (?P<figures>\d{{1,2}}(?P<mark>[./])\d{{1,2}}(?P=mark)\d{{4}})(?!\w)
    | (?P<time>\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?!\d)(?:\s*(?:[ap]\.m\.|[ap]m\b))?|\d{{1,2}}\s*(?:[ap]\.m\.|[ap]m\b))
    | (?P<nth>\d{{1,2}}){_NTH}\b
    | (?P<number>\d{{1,3}}(?:\.\d{{3}})+,\d{{1,2}} | \d{{1,3}}(?:,\d{{3}})+(?:\.\d+)? | (?<!,)\d+,\d{{1,2}}(?![\d,])
        | \d+(?:\.\d+)?)
      (?-i:[A-Za-z]{{1,3}})?(?!\w|-(?-i:\w*[A-Z]))
    | (?P<id>\w+(?:[-/]\w+)*)
    )"""
)
_GROUPING: Final = re.compile("(?<=\\d)[\u00a0\u202f\u2009'\u2019](?=\\d{3}(?!\\d))")
_MARKERS: Final = re.compile(r"(?m)^\s*(?:\d{1,2}[.)]|[-*•])\s+")


class Fact(NamedTuple):
    """One thing of a text, as it stands there. `means` are its readings; one of them has to be met."""

    text: str
    kind: str
    means: tuple[Day | Decimal | str, ...]


def normal(text: str) -> str:
    """A text with one form for each character, and no marks between the digits of a number but , and ."""
    text = unicodedata.normalize("NFKC", _GROUPING.sub("", text))
    return text.replace("\u2019", "'").translate(dict.fromkeys(map(ord, "‐‑‒–—−"), "-"))


def without_markers(text: str) -> str:
    """A text without the numbers and bullets of its lists, which say nothing."""
    return _MARKERS.sub("", text)


def facts(text: str) -> tuple[list[Fact], str]:
    """The facts of a normal text, and the text with a 0 in the place of each."""
    found: list[Fact] = []

    def take(match: re.Match[str]) -> str:
        read = _read(match)
        found.extend(read)
        return "0" if read else match[0]

    return found, _FACT.sub(take, text)


def _read(match: re.Match[str]) -> list[Fact]:
    """The facts of one match: none for a word without a digit, two for a day with its time."""
    kind = match.lastgroup if match["figures"] is None else "figures"
    said = match[0]
    if match["iso"] is not None:
        year, month, day = map(int, match["iso"].split("-"))
        dated = [Fact(match["iso"], "date", ((year, month, day),))]
        return dated if match["clock"] is None else [*dated, Fact(match["clock"], "time", (_time(match["clock"]),))]
    if kind in ("day_month", "month_day"):
        return [Fact(said, "date", (_named_day(said),))]
    if kind == "figures":
        one, other, year = map(int, re.findall(r"\d+", said))
        return [Fact(said, "date", ((year, one, other), (year, other, one)))]
    if kind == "time":
        return [Fact(said, "time", (_time(said),))]
    if kind == "nth":
        return [Fact(said, "nth", (Decimal(match["nth"]),))]
    if kind == "number":
        return [Fact(said, "number", (_decimal(match["number"]),))]
    return [Fact(said, "id", (said.casefold(),))] if any(letter.isdigit() for letter in said) else []


def _named_day(said: str) -> Day:
    numbers = [int(figures) for figures in re.findall(r"\d+", said)]
    letters = re.search(_MONTH, said, re.IGNORECASE)
    assert letters is not None
    month = next(place for place, name in enumerate(MONTHS, 1) if name.startswith(letters[0][:3].lower()))
    return (numbers[1] if len(numbers) > 1 else None), month, numbers[0]


def _time(said: str) -> str:
    """'2:30 pm' → '14:30'; seconds are not looked at."""
    figures = re.findall(r"\d+", said)
    hour, minute = int(figures[0]), int(figures[1]) if len(figures) > 1 else 0
    half = re.search(r"[ap]", said, re.IGNORECASE)
    if half is not None:
        hour = hour % 12 + (12 if half[0].lower() == "p" else 0)
    return f"{hour}:{minute:02d}"


def _decimal(figures: str) -> Decimal:
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d{1,2}|\d+,\d{1,2}", figures):
        return Decimal(figures.replace(".", "").replace(",", "."))
    return Decimal(figures.replace(",", ""))
