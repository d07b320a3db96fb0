"""Files and functions stay small. The lists are ratchets: an entry may only shrink, and goes when it is not needed."""

import ast
from typing import Final

from tests.tidy.repository import functions, program, told

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60

LONGER_FILES: Final[dict[str, int]] = {}

LONGER_FUNCTIONS: Final[dict[str, int]] = {}


def compare(found: dict[str, int], allowed: dict[str, int], what: str) -> list[str]:
    """Where the lists and the code differ, each with what to do about it."""
    findings = []
    for name, lines in sorted(found.items()):
        if name not in allowed:
            findings.append(f"{name} has {lines} lines: split this {what} by its ideas")
        elif lines > allowed[name]:
            findings.append(f"{name} grew from {allowed[name]} to {lines} lines: split this {what} by its ideas")
        elif lines < allowed[name]:
            findings.append(f"{name} shrank from {allowed[name]} to {lines} lines: write {lines} into the list, and thank you")
    findings += [f"{name} is small now or gone: take it out of the list" for name in sorted(set(allowed) - set(found))]
    return findings


def test_no_long_file() -> None:
    """A file is one idea; over FILE_LINES_MAX it has become two."""
    found = {source.name: len(source.text.splitlines()) for source in program()}
    long = {name: lines for name, lines in found.items() if lines > FILE_LINES_MAX}
    findings = compare(long, LONGER_FILES, "file")
    assert not findings, told(findings, "see each line; the list is LONGER_FILES in this file")


def test_no_long_function() -> None:
    """A function has one job; a long straight list of checks may be long, and then it stands in the list."""
    found = {
        f"{source.name}::{function.name}": (function.end_lineno or function.lineno) - function.lineno + 1
        for source in program()
        for function in functions(source.tree)
        if not any(isinstance(decorator, ast.Name) and decorator.id == "overload" for decorator in function.decorator_list)
    }
    long = {name: lines for name, lines in found.items() if lines > FUNCTION_LINES_MAX}
    findings = compare(long, LONGER_FUNCTIONS, "function")
    assert not findings, told(findings, "see each line; the list is LONGER_FUNCTIONS in this file")
