"""Every state that a model can reach, by breadth-first search. Knows nothing of what it explores.

A model is a start, a function from a state to its steps, and a function that names the promise a state breaks. Because the
search is breadth-first, the way to the first broken promise is a shortest one: there is no smaller counterexample.

Two more promises are about all states together. Some steps are *progress*: they happen as long as those who can work go on
working. A state without a progress step must be one at rest, and no run of progress steps may come back to where it was.
Both together say: left alone, the model comes to rest, in whatever order things happen, after finitely many steps.
"""

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from time import perf_counter
from typing import Final, Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)

Label = tuple[str | int, ...]
"""What happened: a verb and whom it concerns. The model says it in words."""

COMES_TO_REST: Final = "left alone, the books come to rest"
NO_CIRCLES: Final = "left alone, the books do not go round in circles"


class Step(NamedTuple, Generic[S]):
    """One atomic step to another state. `progress`: it happens without anybody's harm or help."""

    label: Label
    state: S
    progress: bool = True


class Broken(NamedTuple, Generic[S]):
    """A promise, and a shortest way from the start to a state that breaks it: each step with the state that it led to."""

    promise: str
    way: tuple[tuple[Label, S], ...]


class Explored(NamedTuple, Generic[S]):
    """What a search saw. `broken` is None when every promise is kept."""

    states: int
    transitions: int
    depth: int
    seconds: float
    broken: Broken[S] | None


def explore(
    start: S,
    steps: Callable[[S], Iterable[Step[S]]],
    broken_promise: Callable[[S], str | None],
    at_rest: Callable[[S], bool],
) -> Explored[S]:
    """Visit every reachable state once; stop at the first broken promise. Only memory bounds the size."""
    begun = perf_counter()
    known: dict[S, int] = {start: 0}
    states: list[S] = [start]
    came_from, came_by = array("l", [-1]), list[Label]([()])
    progress_to, progress_ends = array("l"), array("l")  # the progress steps of all states; where those of each end
    level_ends, depth, transitions, number = 1, 0, 0, 0

    def result(promise: str | None = None, at: int = 0) -> Explored[S]:
        broken = None if promise is None else Broken(promise, _way(at, states, came_from, came_by))
        return Explored(len(states), transitions, depth, perf_counter() - begun, broken)

    promise = broken_promise(start)
    if promise is not None:
        return result(promise)
    while number < len(states):
        if number == level_ends:
            level_ends, depth = len(states), depth + 1
        for label, state, progress in steps(states[number]):
            transitions += 1
            found = known.setdefault(state, len(states))
            if found == len(states):
                states.append(state)
                came_from.append(number)
                came_by.append(label)
                promise = broken_promise(state)
                if promise is not None:
                    depth += 1
                    return result(promise, found)
            if progress:
                progress_to.append(found)
        progress_ends.append(len(progress_to))
        number += 1
    stuck = next((at for at in _without_progress(progress_ends) if not at_rest(states[at])), None)
    if stuck is not None:
        return result(COMES_TO_REST, stuck)
    circling = on_a_circle(progress_to, progress_ends)
    return result() if circling is None else result(NO_CIRCLES, circling)


def on_a_circle(targets: Sequence[int], ends: Sequence[int]) -> int | None:
    """The first node that a circle of the edges leads to, or None. The edges of node n are targets[ends[n - 1] : ends[n]]."""
    waits_for = array("l", bytes(array("l").itemsize * len(ends)))
    for target in targets:
        waits_for[target] += 1
    free = [node for node, count in enumerate(waits_for) if not count]
    while free:
        node = free.pop()
        for target in targets[ends[node - 1] if node else 0 : ends[node]]:
            waits_for[target] -= 1
            if not waits_for[target]:
                free.append(target)
    return next((node for node, count in enumerate(waits_for) if count), None)


def _without_progress(ends: Iterable[int]) -> Iterable[int]:
    before = 0
    for node, end in enumerate(ends):
        if end == before:
            yield node
        before = end


def _way(at: int, states: list[S], came_from: Sequence[int], came_by: list[Label]) -> tuple[tuple[Label, S], ...]:
    way = []
    while at > 0:
        way.append((came_by[at], states[at]))
        at = came_from[at]
    return tuple(reversed(way))
