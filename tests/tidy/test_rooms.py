"""Imports point one way, and each room keeps to what it may touch (docs/ARCHITECTURE.md)."""

import ast
from collections.abc import Iterator
from typing import Final

from tests.tidy.repository import Source, functions, program, room_of, told

ORDER: Final = (
    "base", "generation", "wire", "store", "schema", "tenants", "catalog", "conversion",
    "money", "money.ledger", "money.metering", "money.rollups", "money.rating", "money.grants", "money.idempotency",
    "money.epochs", "money.slices", "money.allowances", "money.billing", "money.invoices", "money.retention", "money.audit",
    "settings", "tuning", "archive", "engines", "gateway", "console", "workers", "client", "evaluation",
    "making", "wiring", "bootstrap", "cli",
)  # fmt: skip
"""A room imports only rooms that stand before it."""

ONLY: Final = {
    "engines": frozenset({"base", "generation", "engines"}),
    "money.ledger": frozenset({"base", "store", "money.ledger"}),
    "money.metering": frozenset({"base", "generation", "store", "money.metering"}),
    "money.epochs": frozenset({"base", "store", "money.epochs"}),
    "money.slices": frozenset({"base", "store", "money.slices"}),
    "money.allowances": frozenset({"base", "store", "money.allowances"}),
    "money.idempotency": frozenset({"base", "store", "money.idempotency"}),
    "client": frozenset({"base", "wire", "client"}),
    "evaluation": frozenset({"base", "wire", "client", "evaluation"}),
    "generation": frozenset({"base", "generation"}),
    "wire": frozenset({"base", "generation", "wire"}),
    "store": frozenset({"base", "store"}),
}
"""Rooms that are stricter than the order."""

PLUG_INS: Final = frozenset({"embedded", "fake", "ray", "remote", "vllm"})
"""Engines, each a folder that can be deleted; what they share lies beside them."""

OUTSIDE: Final = {
    "aiohttp": {"catalog", "client", "engines", "wiring"},
    "apsw": {"store"},
    "click": {"cli"},
    "duckdb": {"money.retention"},
    "gguf": {"conversion", "tuning"},
    "httptools": {"engines", "gateway"},
    "jsonschema": {"evaluation"},
    "jinja2": {"console"},
    "numpy": {"conversion"},
    "opentelemetry": {"gateway"},
    "prometheus_client": {"gateway"},
    "psycopg": {"store"},
    "rich": {"cli"},
    "starlette": {"gateway", "console"},
    "typer": {"cli"},
    "uvicorn": {"gateway"},
    "uvloop": {"engines", "gateway", "cli"},
    "xllamacpp": {"engines"},
}
"""Which rooms touch HTTP, a terminal, a database file or llama.cpp."""


def imports(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """Each imported module by its full name; `from millrace.store import named` counts as millrace.store.named too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module or ""
            if node.module in ("millrace", "millrace.money"):
                for alias in node.names:
                    yield node, f"{node.module}.{alias.name}"


def test_every_room_has_its_place() -> None:
    """A new room is put into ORDER on purpose."""
    strangers = sorted({source.room for source in program()} - {*ORDER, ""})
    assert not strangers, told(strangers, "put the room into ORDER of this file, above everything that imports it")


def test_imports_point_one_way() -> None:
    """A room imports only itself and rooms above it."""
    findings = []
    for source in program():
        for node, module in imports(source):
            target = room_of(module)
            if not module.startswith("millrace") or target not in ORDER or source.room not in ORDER:
                continue
            allowed = ONLY.get(source.room)
            upward = ORDER.index(target) <= ORDER.index(source.room) if allowed is None else target in allowed
            if not upward:
                findings.append(f"{source.at(node)}: {source.room} imports {target}")
    assert not findings, told(
        findings, "move what both need into a room above, or pass it in from wiring.py; see ORDER and ONLY in this file"
    )


def test_no_relative_imports() -> None:
    """An import says where from, so that one search finds every user of a module."""
    findings = [
        source.at(node)
        for source in program() for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom) and node.level
    ]  # fmt: skip
    assert not findings, told(findings, "write the import from millrace on")


def test_an_engine_can_be_deleted() -> None:
    """No engine's folder is imported by another engine or by what engines share."""
    findings = []
    for source in program():
        parts = source.path.parts
        own = parts[parts.index("engines") + 1] if source.room == "engines" else None
        for node, module in imports(source):
            steps = module.split(".")
            foreign = steps[:2] == ["millrace", "engines"] and steps[2:3] != [own] and not PLUG_INS.isdisjoint(steps[2:3])
            if own is not None and foreign:
                findings.append(f"{source.at(node)} imports the engine {steps[2]}")
    assert not findings, told(findings, "put what is shared beside the engines, such as into engines/upstream")


def test_who_touches_the_outside() -> None:
    """Only gateway, console and cli speak HTTP or to a terminal, engines to their programs, store to a database."""
    findings = []
    for source in program():
        for node, module in imports(source):
            rooms = OUTSIDE.get(module.split(".")[0])
            if rooms is not None and source.room not in rooms:
                findings.append(f"{source.at(node)}: {source.room} imports {module}")
    assert not findings, told(findings, "pass values in; the rooms that may import a library stand in OUTSIDE of this file")


def test_no_import_inside_a_function() -> None:
    """An import that hides in a function hides a cycle. The command line may, for speed, with the reason beside it."""
    findings = []
    for source in program():
        for function in functions(source.tree):
            for node in ast.walk(function):
                if not isinstance(node, ast.Import | ast.ImportFrom):
                    continue
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                ours = any(name.split(".")[0] == "millrace" for name in names)
                excused = source.room == "cli" and "#" in source.line(node.lineno) + source.line(node.lineno - 1)
                if ours and not excused:
                    findings.append(f"{source.at(node)}: {', '.join(names)}")
    assert not findings, told(findings, "import at the top; in cli a comment on the line or above it says why not")
