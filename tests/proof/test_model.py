"""The books' protocol, every state of it: no interleaving of crashes, stops, cuts and lost answers breaks a promise.

The model is tests/proof/model/books.py; `python -m tests.proof.model` prints what is asserted here.
"""

import os
from typing import Final

import pytest
from tests.proof.model import promises
from tests.proof.model.explorer import COMES_TO_REST, NO_CIRCLES, Step, explore, on_a_circle
from tests.proof.model.run import row, run
from tests.proof.model.scenarios import LARGE, PLANTED, SMALL, Planted
from tests.proof.model.state import Fault, Scenario
from tests.proof.model.words import tell

SCENARIOS: Final = SMALL + LARGE if os.environ.get("MILLRACE_PROOF") == "all" else SMALL


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_protocol_keeps_every_promise(scenario: Scenario) -> None:
    """In every reachable state every promise holds, and from every one the books come to rest by progress alone."""
    books, explored = run(scenario)
    print(row(scenario.name, explored))
    assert explored.broken is None, tell(books, explored.broken)
    assert explored.states > 10_000, "a scenario this small proves little: is something in it never enabled?"


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.fault.name)
def test_a_rule_left_out_is_found(planted: Planted) -> None:
    """With any one rule left out the search finds a broken promise, the one that the rule is there for."""
    books, explored = run(planted.scenario, planted.fault)
    assert explored.broken is not None, f"{planted.fault.name} breaks nothing"
    told = tell(books, explored.broken)
    print(told)
    assert explored.broken.promise == planted.promise, told


def test_every_fault_is_planted_and_every_promise_can_fail() -> None:
    """No variant is left untried, and no promise is so weak that nothing breaks it."""
    assert {planted.fault for planted in PLANTED} == set(Fault) - {Fault.NONE}
    assert {planted.promise for planted in PLANTED} == {*promises.PROMISES, COMES_TO_REST}


def test_the_counterexample_is_a_shortest_one() -> None:
    """Breadth first: of two ways to the same harm the shorter is told, with the state after each step."""

    def steps(state: int) -> list[Step[int]]:
        return [Step(("one",), state + 1), Step(("two",), state + 2)]

    explored = explore(0, steps, lambda state: "below four" if state >= 4 else None, lambda _: True)
    assert explored.broken is not None
    assert explored.broken.promise == "below four"
    assert explored.broken.way == ((("two",), 2), (("two",), 4))


def test_a_state_that_only_help_leads_out_of_is_stuck() -> None:
    """Steps that are not progress do not count as a way to rest."""

    def steps(state: int) -> list[Step[int]]:
        return {0: [Step(("fall",), 1, progress=False)], 1: [Step(("be helped",), 0, progress=False)]}[state]

    explored = explore(0, steps, lambda _: None, lambda state: state == 0)
    assert explored.broken is not None
    assert explored.broken.promise == COMES_TO_REST
    assert explored.broken.way == ((("fall",), 1),)
    assert (explored.states, explored.transitions, explored.depth) == (2, 2, 1)


def test_going_round_is_not_coming_to_rest() -> None:
    """Progress that can lead back to where it was is found, though every state has a way to rest."""

    def steps(state: int) -> list[Step[int]]:
        return {0: [Step(("on",), 1)], 1: [Step(("back",), 0), Step(("on",), 2)], 2: []}[state]

    explored = explore(0, steps, lambda _: None, lambda state: state == 2)
    assert explored.broken is not None
    assert explored.broken.promise == NO_CIRCLES


def test_a_circle_is_told_from_two_ways_to_one_place() -> None:
    """Edges 0→1, 0→2, 1→3, 2→3 are no circle; with 3→1 they are one, and 0 is not on it."""
    assert on_a_circle([1, 2, 3, 3], [2, 3, 4, 4]) is None
    assert on_a_circle([1, 2, 3, 3, 1], [2, 3, 4, 5]) == 1
