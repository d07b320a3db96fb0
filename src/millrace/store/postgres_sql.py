"""The common dialect in PostgreSQL's words. Pure."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from millrace.store.postgres_values import listed

_TOKEN = re.compile(
    r"""
    (?P<kept> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | :: )
    | \b NOT \s+ IN \s* \( \s* :(?P<out_of>\w+)\.\.\. \s* \)
    | \b IN \s* \( \s* :(?P<listed>\w+)\.\.\. \s* \)
    | (?<![\w:]) :(?P<perhaps>[A-Za-z_]\w*) (?= \s+ IS \s+ (?:NOT \s+)? NULL \b)
    | (?<![\w:]) :(?P<name>[A-Za-z_]\w*) (?P<many>\.\.\.)?
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
"""What is kept as it is (texts, names, comments, bodies, casts), a list looked through, a question for NULL, a parameter."""


class Translated(NamedTuple):
    """`sql` with $1, $2, …; from which name each comes, and whether it only says if that is NULL.

    `many`: the statement takes lists elsewhere than after IN, as in `unnest(:ids..., :amounts...)`.
    """

    sql: str
    sources: tuple[tuple[str, bool], ...]
    many: bool

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        """The parameters in the order of their numbers. A missing one is a bug (KeyError)."""
        return [_parameter(values[name], asks) for name, asks in self.sources]


def _parameter(value: Any, asks: bool) -> Any:
    if asks:
        return None if value is None else 1
    return listed(value) if isinstance(value, list | tuple) else value


def translate(sql: str) -> Translated:
    """What PostgreSQL is asked: the statement's own variant, or the portable text, with its parameters numbered."""
    return _translated(getattr(sql, "postgresql", sql))


@cache
def _translated(sql: str) -> Translated:
    numbers: dict[tuple[str, bool], int] = {}
    many: list[str] = []

    def number(name: str, *, asks: bool = False) -> str:
        return f"${numbers.setdefault((name, asks), len(numbers) + 1)}"

    def replaced(found: re.Match[str]) -> str:
        if found["out_of"]:
            return f"<> ALL({number(found['out_of'])})"
        if found["listed"]:
            return f"= ANY({number(found['listed'])})"
        if found["perhaps"]:  # PostgreSQL cannot tell the type of a parameter that is only asked for being NULL
            return f"{number(found['perhaps'], asks=True)}::int8"
        if found["many"]:
            many.append(found["name"])
        return number(found["name"]) if found["name"] else found["kept"]

    text = _TOKEN.sub(replaced, sql)
    return Translated(text, tuple(numbers), bool(many))
