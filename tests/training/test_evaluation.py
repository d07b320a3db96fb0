"""The examination's table: who is right gets everything, who says nothing gets nothing, and the same model the same table."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.training.needs import need

need("gguf", "numpy")

from models.tiny.evaluate import Tally, examine, make_material, measure, plain_turns, table, turns_of, wilson
from models.tiny.forward import Network
from models.tiny.served import Answer, Messages, Served
from models.tiny.tools import Tool

from millrace.catalog.bundled import PATH

MATERIAL = make_material(None, 40, "test")


class Oracle:
    """Knows the true answer to every question of the material, and refuses all others."""

    def __init__(self) -> None:
        asked = [one for scene in MATERIAL.scenes for one in turns_of(scene)]
        asked += [one for dialogue in MATERIAL.dialogues for one in plain_turns(dialogue)]
        self.known = {repr(one.messages): one.true for one in asked}

    def answer(self, messages: Messages, tools: Sequence[Tool] = (), **more: Any) -> Answer:  # noqa: ARG002 - the real interface
        assert not more
        true = self.known.get(repr(messages))
        if true is None:
            return Answer("I am sorry, I cannot help with that.")
        return Answer(true.text, () if true.call is None else (true.call,))


class Mute:
    def answer(self, messages: Messages, tools: Sequence[Tool] = (), **more: Any) -> Answer:  # noqa: ARG002 - the real interface
        return Answer("", ended="length")


@pytest.fixture(scope="module")
def right() -> Tally:
    return examine(Oracle(), MATERIAL)


def test_who_is_right_gets_everything(right: Tally) -> None:
    """True answers are right in every row of the scenes and of the questions out of scope."""
    shares = [share for share in right.shares() if not share[0].startswith(("shop in", "no shop"))]
    assert [(part, row) for part, row, passed, count in shares if passed != count] == []
    rows = {row for part, row, *_ in shares if part == "shops with tools"}
    assert {"call exact", "no call where none is due", "grounded, after a result", "says the same, after a result"} <= rows


def test_who_says_nothing_gets_nothing() -> None:
    """Silence makes no wrong call and invents nothing; it is never a due call, the same answer, a refusal, or an end."""
    shares = {(part, row): passed for part, row, passed, _ in examine(Mute(), MATERIAL).shares()}
    for row in ("call exact", "says the same, after a result", "ends by itself"):
        assert shares["shops with tools", row] == 0
    assert shares["out of scope, own", "refused"] == 0


def test_every_failure_is_written_down() -> None:
    """What failed can be read: the question, what was said, and what was true."""
    tally = examine(Mute(), MATERIAL)
    assert len(tally.failures) == sum(count - passed for _, _, passed, count in tally.shares())
    assert {"part", "row", "before", "said", "true", "ended"} == set(tally.failures[0])


def test_the_interval_is_wilsons() -> None:
    """The interval of a share lies around it, narrows with the number, and stays inside 0 and 1."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(800, 1000) == pytest.approx((0.7741, 0.8236), abs=1e-4)
    assert wilson(5, 5)[1] == 1.0
    assert wilson(0, 5)[0] == 0.0


def test_the_material_is_drawn_by_the_seed() -> None:
    """The same seed asks the same questions, another one others."""
    assert make_material(None, 6, "a") == make_material(None, 6, "a")
    assert make_material(None, 6, "a").scenes != make_material(None, 6, "b").scenes


def test_the_table_says_what_was_not_measured(right: Tally) -> None:
    """Without the shared folder its sets are named as not measured."""
    told = table(right, {"nats a token, shops with tools": 0.1, "nats a token, Taskmaster-4": None}, shared=False)
    assert "| Taskmaster-4, CLINC150 | needs --shared | not measured | | |" in told
    assert "| nats a token, shops with tools | 0.1 (perplexity 1.105) |" in told
    assert "| nats a token, Taskmaster-4 | not measured |" in told


def test_the_bundled_model_is_measured_twice_alike() -> None:
    """The same file gives the same counts and the same surprise, and is fast enough to talk to."""
    few = make_material(None, 3, "few")
    tables = []
    for _ in range(2):
        served = Served(PATH)
        measured = measure(served, Network(PATH), few)
        speed = measured.pop("tokens a second, one thread")
        assert speed is not None
        assert speed > 20
        tables.append((list(examine(served, few).shares()), measured))
    assert tables[0] == tables[1]
