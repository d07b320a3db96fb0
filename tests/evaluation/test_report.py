"""Results summed up, and texts of models made safe to print."""

from typing import Any

from millrace.evaluation.report import failure_form, groups, rows, shown, verdict, versus
from millrace.evaluation.results import Result
from millrace.evaluation.rules import Exact, NoToolCall
from millrace.evaluation.suite import Case


def case(name: str, *tags: str, calls: bool = False) -> Case:
    rule = NoToolCall() if calls else Exact(text="yes")
    return Case(id=name, messages=[{"role": "user", "content": "?"}], expect=rule, tags=tags)


def result(name: str, passed: bool, *, model: str = "m", **more: Any) -> Result:
    return Result(model=model, case=name, attempt=more.pop("attempt", 0), passed=passed, why="" if passed else "no", **more)


def test_groups_are_all_then_kinds_then_tags() -> None:
    """Sorted; a kind or tag that is every case is not said twice, and a tag given twice counts once."""
    cases = [case("a", "x", "x"), case("b", "y", calls=True)]
    assert {name: [one.id for one in group] for name, group in groups(cases).items()} == {
        "all": ["a", "b"], "kind exact": ["a"], "kind no_tool_call": ["b"], "tag x": ["a"], "tag y": ["b"],
    }  # fmt: skip
    assert list(groups([case("a", "x"), case("b", "x")])) == ["all"]


def test_a_row_is_the_sum_of_its_answers() -> None:
    """Amounts exact, the median of the latencies that are known, the share over cases and not over answers."""
    results = [
        result("a", True, amount="0.000000001", currency="CNY", input_tokens=3, output_tokens=1, latency_ms=10.0),
        result("a", False, attempt=1, amount="0.000000002", currency="CNY", latency_ms=30.0),
        result("b", True, amount="4.100000000", currency="CNY"), result("b", True, attempt=1), result("a", True, model="other"),
    ]  # fmt: skip
    (row,) = rows([case("a"), case("b")], results, "m")
    assert (row.cases, row.answers, row.passed, row.share.share) == (2, 4, 3, 0.75)
    assert (row.amount_nano, row.currency, row.latency_ms) == (4_100_000_003, "CNY", 20.0)
    assert (row.input_tokens, row.output_tokens) == (3, 1)


def test_the_verdict_says_whether_it_may_be_chance() -> None:
    """Two of two are chance, twelve of twelve are not."""
    for count, words in ((2, "may well be chance"), (12, "more than chance")):
        cases = [case(str(number)) for number in range(count)]
        results = [result(one.id, model == "b", model=model) for one in cases for model in "ab"]
        (found,) = versus(cases, results, "a", "b")
        said = verdict("a", "b", found.difference)
        assert said.startswith(f"b does better than a on {count} of {count} cases and worse on 0: +100.0 points")
        assert words in said


def test_what_a_model_says_is_nothing_to_a_terminal() -> None:
    """Escapes, line breaks and marks that turn text round are written out; what is long is cut."""
    assert shown("a\x1b[31m\n\u202eb\u00e9") == "a\\x1b[31m\\n\\u202eb\u00e9"
    assert shown("x" * 1000) == "x" * 300 + "…"
    form = failure_form(result("a\x07", False, text="\r\n"))
    assert (form["case"], form["said"]) == ("a\x07", "\\r\\n")
