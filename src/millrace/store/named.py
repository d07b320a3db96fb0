"""Named SQL: a room keeps its statements in `queries.sql`, each under a line `-- name: …` by which it calls them."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The statements of one file. `queries["charge"]` is the SQL text; an unknown name is a bug (KeyError)."""

    def __init__(self, package: str, file: str = "queries.sql") -> None:
        text = (files(package) / file).read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        if len(set(parts[::2])) != len(parts) // 2:
            raise ValueError(f"a statement of {package}/{file} has the name of another: {sorted(parts[::2])}")
        self._statements = {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._statements)
