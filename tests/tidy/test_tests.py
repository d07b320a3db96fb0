"""The tests' own manners: each says what it proves, waits for nothing, and patches none of our code."""

import ast
from collections.abc import Iterator
from typing import Final

from tests.tidy.repository import Source, functions, suite, told

REAL_TIME: Final = ("tests/races/", "tests/live/", "tests/browser/")
"""Folders whose tests run real processes and so may wait for them."""

WAITS: Final[dict[str, int]] = {
    "tests/engines/remote/test_engine.py": 5,  # milliseconds, until a real socket's other end has noticed
}
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
        for source in suite()
        if source.path.name.startswith("test_")
        for function in functions(source.tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert not findings, told(findings, "begin the test with a docstring of one sentence: the promise that it proves")


def ratchet(places: list[str], allowed: dict[str, int]) -> list[str]:
    """The places in files that have more or fewer of them than the list allows, and what the list should say."""
    found: dict[str, int] = {}
    for place in places:
        name = place.partition(":")[0]
        found[name] = found.get(name, 0) + 1
    wrong = {name for name in {*found, *allowed} if found.get(name, 0) != allowed.get(name, 0)}
    findings = [place for place in places if place.partition(":")[0] in wrong]
    return findings + [f"{name}: {found.get(name, 0)} found, {allowed.get(name, 0)} allowed" for name in sorted(wrong)]


def test_pure_tests_do_not_wait() -> None:
    """Time passes on a FakeClock; `asyncio.sleep(0)` lets others run and is no wait."""
    places = []
    for source in suite():
        for call, name in calls(source):
            zero = name == "asyncio.sleep" and call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
            if name in ("time.sleep", "asyncio.sleep") and not zero and not source.name.startswith(REAL_TIME):
                places.append(f"{source.at(call)}: {ast.unparse(call)}")
    findings = ratchet(places, WAITS)
    assert not findings, told(
        findings,
        "use FakeClock, an asyncio.Event or sleep(0); a test that needs real time belongs under tests/races; where waits "
        "went, lower the number in WAITS",
    )


def test_no_patching_of_our_code() -> None:
    """What a test needs to replace is passed in: fakes with the real interface, never a patched module."""
    findings = []
    for source in suite():
        for call, name in calls(source):
            patched = name.startswith("monkeypatch.") and name.rpartition(".")[2] in PATCHES
            mocked = name in ("patch", "patch.object") or name.startswith(("mock.patch", "unittest.mock"))
            if (patched or mocked) and "# not ours" not in source.line(call.lineno):
                findings.append(f"{source.at(call)}: {ast.unparse(call)}")
    assert not findings, told(findings, "pass the fake in; patching a library is allowed with `# not ours: why` on the line")


def test_the_ratchet_only_turns_one_way() -> None:
    """More than the list allows is found by its place, fewer ask for a lower number, and as many pass."""
    assert ratchet(["a.py:1: x", "a.py:2: x"], {"a.py": 2}) == []
    assert ratchet(["a.py:1: x"], {}) == ["a.py:1: x", "a.py: 1 found, 0 allowed"]
    assert ratchet([], {"a.py": 1}) == ["a.py: 0 found, 1 allowed"]
