"""Intervals and p-values against published ones and against counting."""

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.evaluation.statistics import compare, share_of, sign_flip, wilson

PASSES = st.lists(st.booleans(), min_size=1, max_size=40)


def fourfold(both: int, first: int, second: int, neither: int) -> tuple[list[Fraction], list[Fraction]]:
    """The answers of two models from a table of pairs: both pass, only the first, only the second, neither."""
    one, none = Fraction(1), Fraction(0)
    before = [one] * (both + first) + [none] * (second + neither)
    return before, [one] * both + [none] * first + [one] * second + [none] * neither


@pytest.mark.parametrize(
    ("passed", "cases", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_the_published_one(passed: int, cases: int, low: float, high: float) -> None:
    """Newcombe 1998, table I, method 3."""
    found = wilson(passed / cases, cases)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(PASSES)
def test_an_interval_lies_around_its_share(passes: list[bool]) -> None:
    """Within 0 and 1, never empty, and the share of failures has the mirrored one."""
    found, mirrored = (share_of([Fraction(passed == right) for passed in passes]) for right in (True, False))
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.low < found.high
    assert math.isclose(found.low, 1 - mirrored.high, abs_tol=1e-12)


@given(PASSES, st.integers(2, 5))
def test_the_same_answer_again_is_no_news(passes: list[bool], repeat: int) -> None:
    """Asking k times and getting k equal answers makes no interval narrower and no p-value smaller."""
    once = [Fraction(passed) for passed in passes]
    again = [Fraction(passed * repeat, repeat) for passed in passes]
    assert share_of(once) == share_of(again)
    assert compare(once, once[::-1]) == compare(again, again[::-1])


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 5, 0.0625), (1, 7, 0.0703), (12, 2, 0.0129), (3, 3, 1.0), (0, 0, 1.0), (59, 121, 0.0000)],
)
def test_mcnemar_is_the_published_one(first: int, second: int, p: float) -> None:
    """One-sided 1/32 doubled; Bentur 2009 in Fagerland 2013; Armitage & Berry 1994, p. 127; and what no pairs tell."""
    assert round(compare(*fourfold(20, first, second, 16)).p, 4) == p


def test_newcombe_s_interval_is_the_published_one() -> None:
    """Airway hyper-responsiveness of 21 children before and after (Fagerland, Lydersen, Laake 2014): -0.507 to -0.026."""
    found = compare(*fourfold(1, 7, 1, 12))
    assert (found.cases, found.better, found.worse) == (21, 1, 7)
    assert [round(value, 3) for value in (found.difference, found.low, found.high)] == [-0.286, -0.507, -0.026]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_a_comparison_turned_round_is_its_mirror(pairs: list[tuple[bool, bool]]) -> None:
    """The difference is in its interval, within -1 and 1; with the models exchanged everything has the other sign."""
    first, second = ([Fraction(pair[place]) for pair in pairs] for place in (0, 1))
    there, back = compare(first, second), compare(second, first)
    assert -1 - 1e-9 <= there.low <= there.difference <= there.high <= 1 + 1e-9
    assert (there.better, there.worse, there.p) == (back.worse, back.better, back.p)
    assert math.isclose(there.low, -back.high, abs_tol=1e-12)


@given(st.lists(st.sampled_from([Fraction(n, 3) for n in range(-3, 4)]), max_size=9))
def test_the_sign_flip_test_counts_every_choice_of_signs(differences: list[Fraction]) -> None:
    """Against all 2^n of them, one by one."""
    seen = abs(sum(differences, Fraction(0)))
    sums = [abs(sum(signs, Fraction(0))) for signs in product(*((value, -value) for value in differences))]
    assert math.isclose(sign_flip(differences), sum(total >= seen for total in sums) / len(sums))


def test_many_cases_are_no_trouble() -> None:
    """Ten thousand pairs that differ are exact and do not overflow."""
    assert sign_flip([Fraction(1)] * 5100 + [Fraction(-1)] * 4900) == pytest.approx(0.0466, abs=0.0002)
    assert sign_flip([Fraction(1)] * 3000) == 0.0
