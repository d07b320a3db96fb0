"""Named SQL: a room keeps its statements in `queries.sql`, each under a line `-- name: …` by which it calls them.

A statement that PostgreSQL must say in its own way has that as a variant after it, under `-- name: … @postgresql`.
"""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+(?: @postgresql)?)\s*$", re.MULTILINE)
_VARIANT = " @postgresql"


class Statement(str):
    """SQL text in the common dialect; `postgresql` is what PostgreSQL is asked instead."""

    __slots__ = ("postgresql",)

    postgresql: str

    def __new__(cls, text: str, postgresql: str) -> "Statement":
        made = super().__new__(cls, text)
        made.postgresql = postgresql
        return made


class Queries:
    """The statements of one file. `queries["charge"]` is the SQL text; an unknown name is a bug (KeyError)."""

    def __init__(self, package: str, file: str = "queries.sql") -> None:
        text = (files(package) / file).read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        if len(set(parts[::2])) != len(parts) // 2:
            raise ValueError(f"a statement of {package}/{file} has the name of another: {sorted(parts[::2])}")
        bodies = {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}
        plain = {name: body for name, body in bodies.items() if not name.endswith(_VARIANT)}
        strangers = sorted(name for name in bodies if name.removesuffix(_VARIANT) not in plain)
        if strangers:
            raise ValueError(f"a variant of {package}/{file} has no statement that it is a variant of: {strangers}")
        self._statements = {name: Statement(body, bodies.get(name + _VARIANT, body)) for name, body in plain.items()}

    def __getitem__(self, name: str) -> Statement:
        return self._statements[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._statements)
