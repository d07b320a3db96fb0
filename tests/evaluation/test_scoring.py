"""Each rule, with answers that just pass and just do not."""

from typing import Any

import pytest

from millrace.client.answers import CalledFunction, ChatAnswer
from millrace.evaluation import rules
from millrace.evaluation.run import judge
from millrace.evaluation.scoring import score
from millrace.evaluation.suite import Case


def why(rule: rules.Expectation, text: str = "", *calls: tuple[str, str], messages: list[dict[str, Any]] | None = None) -> str:
    """What an answer misses; empty where it passes."""
    case = Case(id="one", messages=messages or [{"role": "user", "content": "Go."}], expect=rule)
    judged = score(case, ChatAnswer(text=text, calls=tuple(CalledFunction(*call) for call in calls)))
    assert judged.passed == (judged.why == "")
    return judged.why


def test_exact_is_equal_but_for_what_is_normalised() -> None:
    """White space alone does not count unless the case says more; one of several texts is enough."""
    assert why(rules.Exact(text="a b"), " a\n b ") == ""
    assert why(rules.Exact(text="a b", normalise=()), "a  b") == "expected 'a b'"
    assert why(rules.Exact(text=("no", "yes")), "yes") == ""
    assert why(rules.Exact(text="yes"), "Yes.") == "expected 'yes'"
    assert why(rules.Exact(text="yes", normalise=("case", "punctuation")), "Yes.") == ""
    assert why(rules.Exact(text="ABC1", normalise=("width",)), "\uff21\uff22\uff23\uff11") == ""


def test_a_pattern_is_searched_for() -> None:
    """It need not be the whole answer; what was looked for is named."""
    assert why(rules.Regex(pattern=r"\b14 days\b"), "within 14 days.") == ""
    assert why(rules.Regex(pattern=r"\b14 days\b"), "within 114 days.") == r"nothing matches \b14 days\b"


def test_json_is_the_whole_answer_and_valid() -> None:
    """What is no JSON, what breaks the schema and where, and NaN, which is none."""
    rule = rules.JsonSchema(schema={"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]})
    assert why(rule, ' {"x": 2.0} ') == ""
    assert why(rule, "It is {}.").startswith("not JSON")
    assert why(rule, '{"x": NaN}') == "not JSON: NaN is no JSON"
    assert why(rule, '{"x": "2"}') == "['x']: '2' is not of type 'integer'"
    assert why(rule, "{}") == "the value: 'x' is a required property"


def test_a_schema_fetches_nothing() -> None:
    """A reference to elsewhere fails the case; none is looked up."""
    rule = rules.JsonSchema(schema={"$ref": "http://127.0.0.1:1/schema.json"})
    assert why(rule, "{}").startswith("the schema refers to what it does not have")


@pytest.mark.parametrize(
    ("arguments", "passes"),
    [
        ('{"n": 2, "to": {"city": "Lyon"}}', "es"), ('{"to": {"city": "Lyon"}, "n": 2.0}', "es"),
        ('{"n": "2", "to": {"city": "Lyon"}}', ""), ('{"n": 2, "to": {"city": "lyon"}}', ""), ('{"n": 2}', ""),
        ('{"n": 2, "to": {"city": "Lyon", "zip": 1}, "more": []}', "s"), ("not json", ""), ("[]", ""),
    ],
)  # fmt: skip
def test_arguments_are_compared_as_json(arguments: str, passes: str) -> None:
    """Numbers by value, texts to the letter, objects without order; `subset` lets an object have more, at any depth."""
    wanted: dict[str, Any] = {"n": 2, "to": {"city": "Lyon"}}
    assert (why(rules.ToolCall(name="f", arguments=wanted), "", ("f", arguments)) == "") == ("e" in passes)
    assert (why(rules.ToolCall(name="f", arguments=wanted, match="subset"), "", ("f", arguments)) == "") == ("s" in passes)


def test_which_functions_are_called() -> None:
    """`exact` is one call and no other; `subset` one among others; no call is what `no_tool_call` wants."""
    exact, subset = (rules.ToolCall(name="f", arguments={}, match=match) for match in ("exact", "subset"))
    assert why(exact, "", ("f", "")) == ""
    assert why(exact, "", ("g", "{}")) == "expected f({}), and called g({})"
    assert why(exact, "f()") == "expected f({}), and nothing was called"
    assert why(exact, "", ("f", "{}"), ("g", "{}")) == "expected f({}) alone, and called f({}), g({})"
    assert why(subset, "", ("g", "{}"), ("f", "{}")) == ""
    assert why(rules.NoToolCall(), "hello") == ""
    assert why(rules.NoToolCall(), "", ("f", "{}")) == "called f({})"


def test_true_is_not_one() -> None:
    """JSON knows booleans and numbers apart, also where Python does not."""
    assert why(rules.ToolCall(name="f", arguments={"on": True}), "", ("f", '{"on": 1}')) != ""
    assert why(rules.ToolCall(name="f", arguments={"on": [True]}), "", ("f", '{"on": [true]}')) == ""


def test_grounded_needs_a_text() -> None:
    """Silence is not grounded, and what is not in the sources is named."""
    rule = rules.Grounded(within="messages")
    asked = [{"role": "user", "content": "Is order A-7 for Anna packed?"}]
    assert why(rule, " ", messages=asked) == "there is no text that could be grounded"
    assert why(rule, "Yes, A-7 for Anna is packed.", messages=asked) == ""
    assert why(rule, "Yes, A-8 for Bob is packed.", messages=asked) == "not in the messages: A-8, Bob"


def test_all_names_the_first_that_fails() -> None:
    """Every rule has to pass."""
    rule = rules.All(of=(rules.NoToolCall(), rules.Regex(pattern="a"), rules.Regex(pattern="b")))
    assert why(rule, "ab") == ""
    assert why(rule, "a") == "nothing matches b"


def test_a_pattern_that_runs_away_is_ended() -> None:
    """The case fails and says why, instead of keeping the run for ever."""
    case = Case(id="one", messages=[], expect=rules.Regex(pattern="^(a+)+$"))
    judged = judge(case, ChatAnswer(text="a" * 64 + "b"), seconds=0.05)
    assert (judged.passed, judged.why) == (False, "judging it took longer than 0.05 s; mend the case's pattern or schema")
    assert judge(case, ChatAnswer(text="aaa"), seconds=0.05).passed
