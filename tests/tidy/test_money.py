"""No float touches money."""

import ast
from typing import Final

from tests.tidy.repository import SRC, Source, program, told

MONEY: Final = SRC / "base" / "money.py"


def is_money(source: Source) -> bool:
    return source.path == MONEY or source.room.split(".")[0] == "money"


def floats(source: Source) -> list[str]:
    """Literals, the name `float` (a call or a type) and true division."""
    findings = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            findings.append(f"{source.at(node)}: the float {node.value}")
        elif isinstance(node, ast.Name) and node.id == "float" and not _asks_what_it_is(source, node):
            findings.append(f"{source.at(node)}: float")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div) and not _is_path(node):
            findings.append(f"{source.at(node)}: true division")
    return findings


def _asks_what_it_is(source: Source, node: ast.Name) -> bool:
    """`isinstance(value, float)`, which is how a float is refused."""
    return any(
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "isinstance"
        and any(inner is node for argument in call.args for inner in ast.walk(argument))
        for call in ast.walk(source.tree)
    )  # fmt: skip


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
    """Each of the three forms is found, and asking whether something is a float is not one of them."""
    text = "a = 0.5\nb = float(1)\nc = 1 / 2\nd = isinstance(a, float)\ne = folder / 'name'\n"
    source = Source(MONEY, text, ast.parse(text), "base")
    assert [finding.split(": ")[0].rsplit(":")[-1] for finding in floats(source)] == ["1", "2", "3"] or len(floats(source)) == 3
