"""Results summed up: by model, kind and tag, and one model against another; pure."""

from collections.abc import Sequence
from fractions import Fraction
from statistics import median
from typing import Any, Final

from msgspec import Struct

from millrace.base.money import parse_amount, render_amount
from millrace.evaluation.results import Result
from millrace.evaluation.statistics import Difference, Share, compare, share_of
from millrace.evaluation.suite import Case

ALL: Final = "all"
SHOWN_MAX: Final = 300
"""Characters of an answer, or of what was missed, in a report. The results have all of them."""


class Row(Struct, frozen=True, kw_only=True):
    """One model on one group of cases; `passed` counts answers."""

    model: str
    group: str
    cases: int
    answers: int
    passed: int
    share: Share
    input_tokens: int
    output_tokens: int
    amount_nano: int
    currency: str | None
    latency_ms: float | None
    """The median."""


class Versus(Struct, frozen=True):
    """The second model against the first on one group of cases."""

    group: str
    difference: Difference


def groups(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """The cases by group: all, then by the kind of what is expected, then by tag. One that is everything is left out."""
    found: dict[str, list[Case]] = {ALL: list(cases)}
    for prefix, names in (("kind", lambda case: (case.expect.kind,)), ("tag", lambda case: case.tags)):
        split: dict[str, list[Case]] = {}
        for case in cases:
            for name in dict.fromkeys(names(case)):
                split.setdefault(f"{prefix} {shown(name)}", []).append(case)
        found.update({name: split[name] for name in sorted(split) if len(split) > 1 or len(split[name]) < len(cases)})
    return found


def rows(cases: Sequence[Case], results: Sequence[Result], model: str) -> list[Row]:
    """A model's row for each group; every case has at least one result."""
    answers = _by_case(results, model)
    return [_row(model, name, [answers[case.id] for case in group]) for name, group in groups(cases).items()]


def versus(cases: Sequence[Case], results: Sequence[Result], first: str, second: str) -> list[Versus]:
    """The second model against the first, for each group."""
    one, two = _by_case(results, first), _by_case(results, second)
    return [
        Versus(name, compare([_passed(one[case.id]) for case in group], [_passed(two[case.id]) for case in group]))
        for name, group in groups(cases).items()
    ]


def verdict(first: str, second: str, difference: Difference) -> str:
    """What the comparison comes to, in words."""
    points, low, high = (f"{100 * value:+.1f}" for value in (difference.difference, difference.low, difference.high))
    counted = (
        f"{second} does better than {first} on {difference.better} of {difference.cases} cases and worse on "
        f"{difference.worse}: {points} points (95 % interval {low} to {high}), p = {_p(difference.p)}"
    )
    if difference.more_than_chance:
        return f"{counted}. That is more than chance."
    return f"{counted}. That may well be chance: more cases would tell."


def row_form(row: Row) -> dict[str, Any]:
    return {
        "group": row.group, "cases": row.cases, "answers": row.answers, "passed": row.passed, **_interval(row.share),
        "input_tokens": row.input_tokens, "output_tokens": row.output_tokens, "amount": render_amount(row.amount_nano),
        "currency": row.currency, "latency_ms_median": row.latency_ms,
    }  # fmt: skip


def versus_form(one: Versus) -> dict[str, Any]:
    return {"group": one.group, **one.difference._asdict(), "more_than_chance": one.difference.more_than_chance}


def failure_form(result: Result) -> dict[str, Any]:
    """An answer that did not pass; texts are made safe for a terminal and bounded."""
    return {
        "case": result.case, "model": result.model, "attempt": result.attempt, "why": shown(result.why),
        "said": shown(said(result)), "request_id": result.request_id,
    }  # fmt: skip


def said(result: Result) -> str:
    """What a model answered: its text, and what it called."""
    calls = [f"{call.name}({call.arguments})" for call in result.calls]
    return " ".join([text for text in (result.text, *calls) if text])


def shown(text: str, most: int = SHOWN_MAX) -> str:
    """A text from elsewhere for a terminal: nothing in it is a command to it, and it is not long."""
    safe = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text[:most]
    )
    return f"{safe}…" if len(text) > most else safe


def _by_case(results: Sequence[Result], model: str) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.model == model:
            found.setdefault(result.case, []).append(result)
    return found


def _passed(answers: Sequence[Result]) -> Fraction:
    return Fraction(sum(answer.passed for answer in answers), len(answers))


def _row(model: str, name: str, by_case: Sequence[Sequence[Result]]) -> Row:
    answers = [answer for one in by_case for answer in one]
    latencies = [answer.latency_ms for answer in answers if answer.latency_ms is not None]
    return Row(
        model=model, group=name, cases=len(by_case), answers=len(answers), passed=sum(answer.passed for answer in answers),
        share=share_of([_passed(one) for one in by_case]), input_tokens=sum(answer.input_tokens for answer in answers),
        output_tokens=sum(answer.output_tokens for answer in answers),
        amount_nano=sum(parse_amount(answer.amount) for answer in answers),
        currency=next((answer.currency for answer in answers if answer.currency), None),
        latency_ms=median(latencies) if latencies else None,
    )  # fmt: skip


def _interval(share: Share) -> dict[str, float]:
    return {"share": share.share, "low": share.low, "high": share.high}


def _p(value: float) -> str:
    return "less than 0.0001" if value < 0.0001 else f"{value:.4f}"
