"""One table of a TOML file, read key by key into typed values; what was not asked for by name is refused by name."""

import difflib
from collections.abc import Mapping
from typing import Final

from millrace.base.errors import Reason, Refusal

SHOWN_MAX: Final = 60
"""Characters of a refused value in its refusal."""


class Table:
    """`where` is the file, `path` the table in it ('limits', 'models[2]', '' for the top). Refusals are BAD_SETTING."""

    def __init__(self, values: Mapping[str, object], *, where: str, path: str = "") -> None:
        self._values = values
        self._asked: list[str] = []
        self.where = where
        self.path = path

    def has(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty. Without a default the key is required."""
        value = self._value(key, default, "a text in quotes")
        if not isinstance(value, str) or not value:
            raise self.refusal(key, "a text in quotes, not empty", value)
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self._ask(key) else None

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        return self.integer(key, low, high) if self._ask(key) else None

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._value(key, default, "true or false")
        if not isinstance(value, bool):
            raise self.refusal(key, "true or false", value)
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """From `low` to `high`. Without a default the key is required."""
        expected = f"an integer from {low} to {high}"
        value = self._value(key, default, expected)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refusal(key, expected, value)
        return value

    def seconds(self, key: str, low: int, high: int, default: float) -> float:
        expected = f"a number of seconds from {low} to {high}"
        value = self._value(key, default, expected)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.refusal(key, expected, value)
        return float(value)

    def table(self, key: str) -> "Table":
        """The table of that name; an empty one when it is absent."""
        value = self._values[key] if self._ask(key) else {}
        if not isinstance(value, dict):
            raise self.refusal(key, f"a table, written [{key}]", value)
        return Table(value, where=self.where, path=self._name(key))

    def tables(self, key: str) -> list["Table"]:
        """The array of tables of that name, counted from 0 in refusals; empty when it is absent."""
        values = self._values[key] if self._ask(key) else []
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self.refusal(key, f"tables, each written [[{key}]]", values)
        return [
            Table(value, where=self.where, path=f"{self._name(key)}[{number}]") for number, value in enumerate(values)
        ]

    def raw(self, key: str) -> object:
        """The value as it came, None when absent, for another room's strict parser."""
        return self._values[key] if self._ask(key) else None

    def finish(self) -> None:
        """Refuse the first key that nobody asked for, naming the nearest known one."""
        for key in self._values:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(self._asked)}"
                raise Refusal(Reason.BAD_SETTING, f"{self.where}: {self._name(key)} is not a setting; {hint}")

    def refusal(self, key: str, expected: str, value: object) -> Refusal:
        """The refusal of a value, to be raised."""
        shown = repr(value)
        if len(shown) > SHOWN_MAX:
            shown = f"{shown[:SHOWN_MAX]}…"
        return Refusal(Reason.BAD_SETTING, f"{self.where}: {self._name(key)} = {shown}: expected {expected}")

    def refusal_unseen(self, key: str, sentence: str) -> Refusal:
        """A refusal that does not show the value, where a secret may have been written in the wrong place."""
        return Refusal(Reason.BAD_SETTING, f"{self.where}: {self._name(key)}: {sentence}")

    def _value(self, key: str, default: object, expected: str) -> object:
        if self._ask(key):
            return self._values[key]
        if default is None:
            near = difflib.get_close_matches(key, set(self._values) - set(self._asked), n=1)
            hint = f"; {near[0]!r} stands there, is it that?" if near else ""
            raise Refusal(Reason.BAD_SETTING, f"{self.where}: {self._name(key)} is missing: expected {expected}{hint}")
        return default

    def _ask(self, key: str) -> bool:
        if key not in self._asked:
            self._asked.append(key)
        return key in self._values

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
