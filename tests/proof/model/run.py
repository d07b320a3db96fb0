"""A scenario explored, with its table row."""

from typing import Final

from tests.proof.model.books import Books
from tests.proof.model.explorer import Explored, explore
from tests.proof.model.promises import broken_promise
from tests.proof.model.state import Fault, Scenario, State

HEADER: Final = f"{'states':>10} {'transitions':>12} {'depth':>6} {'seconds':>8}  scenario"


def run(scenario: Scenario, fault: Fault = Fault.NONE) -> tuple[Books, Explored[State]]:
    """Every reachable state, or as many as it takes to see a promise broken."""
    books = Books(scenario, fault)
    return books, explore(books.start(), books.steps, lambda state: broken_promise(books, state), books.is_at_rest)


def row(name: str, explored: Explored[State]) -> str:
    return f"{explored.states:10,} {explored.transitions:12,} {explored.depth:6} {explored.seconds:8.1f}  {name}"
