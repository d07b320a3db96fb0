"""SQL stands in queries.sql and in migrations, and only store.py of a room runs it."""

import ast
import re
from typing import Final

from tests.tidy.repository import Source, program, told

STATEMENT: Final = re.compile(
    r"\b(SELECT\s+[\w*(]|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX|UNIQUE|TRIGGER)"
    r"|ALTER\s+TABLE|DROP\s+TABLE|PRAGMA\s+\w+|BEGIN\s+IMMEDIATE)"
)


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the constants that are documentation: an expression of nothing but a text."""
    return {
        id(node.value)
        for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }  # fmt: skip


def statements(source: Source) -> list[str]:
    documentation = docstrings(source.tree)
    return [
        source.at(node)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        and id(node) not in documentation and STATEMENT.search(node.value)
    ]  # fmt: skip


def test_no_sql_in_python() -> None:
    """Outside the room `store`, which knows the database's own language, no text in Python is a statement."""
    findings = [place for source in program() if source.room != "store" for place in statements(source)]
    assert not findings, told(findings, "put the statement under a name into queries.sql of the room")


def test_only_store_py_runs_queries() -> None:
    """`Queries(…)`, the door to a room's queries.sql, is opened in its store.py and nowhere else."""
    findings = [
        source.at(node)
        for source in program()
        if source.room != "store" and source.path.name != "store.py"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Queries"
    ]
    assert not findings, told(findings, "move what reads or writes rows into store.py of the room")


def test_the_rule_sees_a_statement() -> None:
    """The pattern finds what it is for and leaves prose alone."""
    assert STATEMENT.search("SELECT id FROM tenant")
    assert STATEMENT.search("INSERT INTO tenant (id) VALUES (1)")
    assert not STATEMENT.search("Select a model, then update it and delete the rest from your list.")
