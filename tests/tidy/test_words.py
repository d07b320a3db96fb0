"""What must not stand in any file: a machine's paths, a registry's address, a promise instead of code."""

import ast
import re
from typing import Final

from tests.tidy.repository import Source, comments, everything, functions, program, texts, told

MACHINE: Final = re.compile(r"(?<![\w.~$}-])/(work|tmp|home|root|Users)/\w")
"""A path that exists on one machine only. `~/.millrace` and `$HOME/…` are everybody's."""

MACHINE_FREE: Final = ("src/", "bench/", "models/", "docs/")

REGISTRIES: Final = re.compile(
    r"\b(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|crates\.io|anaconda\.org|rubygems\.org|proxy\.golang\.org)\b"
)

ASSISTANTS: Final = re.compile(r"(?i)\b(claude|chatgpt|copilot|codex|gemini)\b|co-authored-by:|generated (by|with) ai")

SPOKEN: Final = ("models/tiny/phrases/", "tests/models/")
"""What people say to a model, and that it does not answer to another's name."""

PROMISES: Final = re.compile(r"\b(TODO|FIXME|HACK)\b")

OPT_OUT: Final = re.compile(r"type: ignore(?!\[)|noqa(?!: [A-Z])")
"""One that does not say what it switches off."""

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
    assert not findings, told(findings, "take it from an argument, the home or tempfile; in docs write ~ or a relative path")


def test_no_registry_s_address() -> None:
    """Where packages come from is the installer's business: a mirror must work without a change here."""
    findings = lines(REGISTRIES)
    assert not findings, told(findings, "name the package and its version, not the host, in lock files too")


def test_no_assistant_s_name() -> None:
    """The repository speaks of the product."""
    findings = [finding for finding in lines(ASSISTANTS) if not finding.startswith(SPOKEN)]
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
        if not source.name.startswith(HERE) and OPT_OUT.search(source.text)
        for number, comment in comments(source)
        if OPT_OUT.search(comment)
    ]
    assert not findings, told(findings, "write `# type: ignore[code]` or `# noqa: CODE`, with the reason behind it")


def test_the_patterns_see_what_they_are_for() -> None:
    """Each pattern finds its kind, and leaves alone what only looks like it."""
    assert MACHINE.search('open("/tmp/x")')
    assert not MACHINE.search("~/work/x and $HOME/tmp/x and /v1/work/x and docs/work/x")
    assert REGISTRIES.search("https://" + "pypi.org/simple")
    assert ASSISTANTS.search("Co-Authored-By: somebody")
    assert not ASSISTANTS.search("an assistant message of a shop assistant")
    assert PROMISES.search("# TODO: later")
    assert not PROMISES.search("the currency XXX")
    assert OPT_OUT.search("x = 1  # noqa")
    assert OPT_OUT.search("x = 1  # type: ignore")
    assert not OPT_OUT.search("x = 1  # noqa: T201  # type: ignore[arg-type]")
