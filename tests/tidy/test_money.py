"""No float touches money."""

import ast
from typing import Final

from tests.tidy.repository import SRC, Source, program, told

MONEY: Final = SRC / "base" / "money.py"


def is_money(source: Source) -> bool:
    return source.path == MONEY or source.room.split(".")[0] == "money"


def floats(source: Source) -> list[str]:
    """Literals, the name `float` (a call or a type) and true division.

    A constant of seconds, `RETRY_S = 0.2`, is a wait for the clock and not money.
    """
    nodes = list(ast.walk(source.tree))
    meant = {id(inner) for node in nodes if _is_no_money(node) for inner in ast.walk(node)}
    findings = []
    for node in nodes:
        if id(node) in meant:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            findings.append(f"{source.at(node)}: the float {node.value}")
        elif isinstance(node, ast.Name) and node.id == "float":
            findings.append(f"{source.at(node)}: float")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div) and not _is_path(node):
            findings.append(f"{source.at(node)}: true division")
    return findings


def _is_no_money(node: ast.AST) -> bool:
    """`RETRY_S = 0.2`, and `isinstance(value, float)`, which is how a float is refused."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(target, ast.Name) and target.id.isupper() and target.id.endswith("_S") for target in targets)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"


def _is_path(node: ast.BinOp | ast.AugAssign) -> bool:
    """`folder / "name"`: the operand on the right is a text or an f-string, so this joins paths."""
    right = node.right if isinstance(node, ast.BinOp) else node.value
    return isinstance(right, ast.JoinedStr) or (isinstance(right, ast.Constant) and isinstance(right.value, str))


def test_no_float_in_the_money_rooms() -> None:
    """base/money.py and everything under money/ count in integers and divide by divide_half_even."""
    findings = [finding for source in program() if is_money(source) for finding in floats(source)]
    assert not findings, told(
        findings, "use integer nano-units, // and base.money.divide_half_even; times are integer nanoseconds"
    )


def test_the_rule_sees_a_float() -> None:
    """Each of the three forms is found, and neither a wait, a path nor a question about a type is."""
    text = "a = 0.5\nb = float(1)\nc = 1 / 2\nd = isinstance(a, float)\ne = folder / 'name'\nWAIT_S = 0.2\n"
    source = Source(MONEY, text, ast.parse(text), "base")
    assert sorted(finding.rpartition(":")[0].rpartition(":")[2] for finding in floats(source)) == ["1", "2", "3"]
