"""The tests' own manners: each says what it proves, waits for nothing, and patches none of our code."""

import ast
from collections.abc import Iterator
from typing import Final

from tests.tidy.repository import Source, functions, tests, told

REAL_TIME: Final = ("tests/races/", "tests/live/", "tests/browser/", "tests/scenarios/")
"""Folders whose tests run real processes and so may wait for them."""

WAITS: Final[dict[str, int]] = {}
"""A ratchet: how many real waits a pure test file still has. It may only shrink."""

PATCHES: Final = frozenset({"setattr", "setitem", "delattr"})


def calls(source: Source) -> Iterator[tuple[ast.Call, str]]:
    """Each call with the text of what is called, such as 'asyncio.sleep'."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_every_test_opens_with_its_sentence() -> None:
    """pytest -v reads as a specification because each test says what it proves."""
    findings = [
        f"{source.at(function)}: {function.name}"
        for source in tests()
        if source.path.name.startswith("test_")
        for function in functions(source.tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert not findings, told(findings, "begin the test with a docstring of one sentence: the promise that it proves")


def test_pure_tests_do_not_wait() -> None:
    """Time passes on a FakeClock; `asyncio.sleep(0)` lets others run and is no wait."""
    found: dict[str, int] = {}
    places = []
    for source in tests():
        for call, name in calls(source):
            zero = name == "asyncio.sleep" and call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
            if name in ("time.sleep", "asyncio.sleep") and not zero and not source.name.startswith(REAL_TIME):
                found[source.name] = found.get(source.name, 0) + 1
                places.append(source.at(call))
    wrong = {name for name in {*found, *WAITS} if found.get(name, 0) != WAITS.get(name, 0)}
    findings = [place for place in places if place.rpartition(":")[0] in wrong]
    findings += [f"{name}: {found.get(name, 0)} waits, and WAITS says {WAITS.get(name, 0)}" for name in sorted(wrong)]
    assert not findings, told(
        findings, "use FakeClock, an asyncio.Event or sleep(0); a test that needs real time belongs under tests/races; "
        "where waits went, lower the number in WAITS"
    )


def test_no_patching_of_our_code() -> None:
    """What a test needs to replace is passed in: fakes with the real interface, never a patched module."""
    findings = []
    for source in tests():
        for call, name in calls(source):
            patched = name.startswith("monkeypatch.") and name.rpartition(".")[2] in PATCHES
            mocked = name in ("patch", "patch.object") or name.startswith(("mock.patch", "unittest.mock"))
            if (patched or mocked) and "# not ours" not in source.line(call.lineno):
                findings.append(f"{source.at(call)}: {name}")
    assert not findings, told(findings, "pass the fake in; patching a library is allowed with `# not ours: why` on the line")
