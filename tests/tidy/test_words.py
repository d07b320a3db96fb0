"""What must not stand in any file: a machine's paths, a registry's address, a promise instead of code."""

import ast
import re
from typing import Final

from tests.tidy.repository import Source, comments, everything, functions, program, texts, told

MACHINE: Final = re.compile(r"(?<![\w.~$}-])/(work|tmp|home|root|Users)/\w")
"""A path that exists on one machine only. `~/.millrace` and `$HOME/…` are everybody's."""

MACHINE_FREE: Final = ("src/", "bench/", "models/", "docs/")

REGISTRIES: Final = re.compile(
    r"\b(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|crates\.io|anaconda\.org|rubygems\.org|proxy\.golang\.org)\b", re.IGNORECASE
)

ASSISTANTS: Final = re.compile(r"\b(claude|chatgpt|copilot|codex|gemini)\b|co-authored-by:|generated (by|with) ai", re.IGNORECASE)

PROMISES: Final = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

HERE: Final = "tests/tidy/"
"""These tests name what they look for."""


def lines(pattern: re.Pattern[str], *, under: tuple[str, ...] = ("",)) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        if name.startswith(under) and not name.startswith(HERE)
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_path_of_a_machine() -> None:
    """Program, bench, models and docs name no folder that only one machine has."""
    findings = lines(MACHINE, under=MACHINE_FREE)
    assert not findings, told(findings, "take the folder from an argument, the home, or tempfile; in docs write ~ or a relative path")


def test_no_registry_s_address() -> None:
    """Where packages come from is the installer's business: a mirror must work without a change here."""
    findings = lines(REGISTRIES)
    assert not findings, told(findings, "name the package and its version, not the host; lock files too are written without hosts")


def test_no_assistant_s_name() -> None:
    """The repository speaks of the product."""
    findings = lines(ASSISTANTS)
    assert not findings, told(findings, "say what the thing does, without the tool's name")


def test_no_promises() -> None:
    """What is not done is an issue with a number, not a word in the code."""
    findings = lines(PROMISES)
    assert not findings, told(findings, "do it, or file an issue and say in the docstring what is not covered")


def is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split("[")[0].rsplit(".")[-1] == "Protocol" for base in node.bases)


def stubs(source: Source) -> list[str]:
    """Functions that only pretend: `...` outside a Protocol, NotImplementedError without a docstring that says who fills it."""
    protocols = [node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef) and is_protocol(node)]
    declared = {id(function) for protocol in protocols for function in functions(protocol)}
    findings = []
    for function in functions(source.tree):
        *before, last = function.body
        ellipsis = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...
        overload = any(ast.unparse(decorator).endswith("overload") for decorator in function.decorator_list)
        if ellipsis and id(function) not in declared and not overload:
            findings.append(f"{source.at(function)}: {function.name} does nothing")
        for node in ast.walk(function):
            if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc):
                abstract = node is last and len(before) == 1 and ast.get_docstring(function) is not None
                if not abstract:
                    findings.append(f"{source.at(node)}: {function.name} is not implemented")
    return findings


def test_no_stubs() -> None:
    """Every function does what it says; only a method that subclasses fill, and says what they owe, may be empty."""
    findings = [finding for source in program() for finding in stubs(source)]
    assert not findings, told(findings, "implement it, or make it a Protocol")


def test_every_opt_out_has_a_code() -> None:
    """`type: ignore` and `noqa` name the rule that they switch off, so that they hide nothing else."""
    findings = [
        f"{source.name}:{number}: {comment}"
        for source in everything()
        if not source.name.startswith(HERE)
        for number, comment in comments(source)
        if re.search(r"type: ignore(?!\[)|noqa(?!: [A-Z])", comment)
    ]
    assert not findings, told(findings, "write `# type: ignore[code]` or `# noqa: CODE`, with the reason behind it")
