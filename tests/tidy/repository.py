"""The repository as these tests see it: its text files, and its Python parsed once."""

import ast
import tokenize
from collections.abc import Iterator
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
SRC: Final = ROOT / "src" / "millrace"
TESTS: Final = ROOT / "tests"

FOLDERS: Final = ("src", "tests", "bench", "models", "docs", ".ci")

TEXT_SUFFIXES: Final = frozenset(
    ["", ".cfg", ".css", ".html", ".js", ".json", ".lock", ".md", ".py", ".sh", ".sql", ".svg", ".toml", ".txt", ".yml"]
)

SKIPPED: Final = frozenset({"__pycache__", "node_modules"})

TEXT_BYTES_MAX: Final = 2_000_000
"""Larger files are data."""


class Source(NamedTuple):
    """A Python file. `room` is 'wire' or 'money.ledger' for one of the program's, empty for others."""

    path: Path
    text: str
    tree: ast.Module
    room: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def at(self, node: ast.AST) -> str:
        """'src/millrace/base/ids.py:12', as editors link it."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"

    def line(self, number: int) -> str:
        return self.text.splitlines()[number - 1]


@cache
def program() -> tuple[Source, ...]:
    """The program's own Python."""
    return tuple(_sources(SRC))


@cache
def suite() -> tuple[Source, ...]:
    """The tests' own Python."""
    return tuple(_sources(TESTS))


@cache
def everything() -> tuple[Source, ...]:
    """All Python of the repository."""
    return tuple(source for folder in FOLDERS for source in _sources(ROOT / folder))


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Name and text of every text file that people write: the folders' and those at the top."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    files += [path for path in sorted(ROOT.iterdir()) if path.suffix in TEXT_SUFFIXES]
    return tuple((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in files if _is_text(path))


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Line number and text of each comment."""
    for token in tokenize.generate_tokens(StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def room_of(module: str) -> str:
    """'millrace.money.ledger.store' → 'money.ledger'; 'millrace.wiring' → 'wiring'; 'millrace' → ''."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["money"] and len(parts) > 1 else ".".join(parts[:1])


def told(findings: list[str], remedy: str) -> str:
    """What a failing test says: each place, and what to do."""
    return "\n".join(["", *findings, "", f"Remedy: {remedy}"])


def _sources(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.rglob("*.py")):
        if SKIPPED.isdisjoint(path.parts):
            text = path.read_text(encoding="utf-8")
            yield Source(path, text, ast.parse(text), _room(path))


def _room(path: Path) -> str:
    if not path.is_relative_to(SRC):
        return ""
    return room_of(".".join(("millrace", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__"))


def _is_text(path: Path) -> bool:
    hidden_tool = path.name.startswith(".") and path.name != ".gitignore" and ".ci" not in path.parts
    return (
        path.is_file() and not hidden_tool and path.suffix in TEXT_SUFFIXES and SKIPPED.isdisjoint(path.parts)
        and path.stat().st_size <= TEXT_BYTES_MAX and b"\0" not in path.read_bytes()[:1024]
    )  # fmt: skip
