"""The generator of scenes at a shop's desk: correct by construction, and nothing of the examination is in the training."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from models.tiny.desk import TASKS, Desk, Result, make_tools
from models.tiny.desk_scenes import TOPICS, make_scene, replays
from models.tiny.desk_talk import ANSWERS, HELD_OUT, TRAINING, DeskTalk
from models.tiny.desk_world import Names, World, make_world
from models.tiny.goods import HELD_OUT_TRADES, TRADES
from models.tiny.judge import says_the_same, ungrounded
from models.tiny.phrases import read_phrases, split
from models.tiny.tools import Said, Scene, Tool
from models.tiny.topics_talk import NUMBERS

SEEDS = range(400)
NAMES = Names(training=("green striped mug", "paper lantern set"), held_out=("zinc sweetheart hanger", "wicker dove"))
CHANGES = ("cancel_order", "return_item", "change_address")
DIGEST = """
import random, zlib
from models.tiny.desk_scenes import make_scene
print([zlib.crc32(repr(make_scene(random.Random(seed))).encode()) for seed in range(40)])
"""


@pytest.fixture(scope="module")
def training() -> list[Scene]:
    return [make_scene(random.Random(seed), NAMES) for seed in SEEDS]


@pytest.fixture(scope="module")
def held_out() -> list[Scene]:
    return [make_scene(random.Random(seed), NAMES, held_out=True) for seed in SEEDS]


class Recorder(DeskTalk):
    """A talk that remembers which sections were asked and said, and after which question each call was made."""

    def __init__(self, rng: random.Random, world: World, tools: tuple[Tool, ...]) -> None:
        super().__init__(rng, world, tools)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.called: list[tuple[str, str]] = []

    def ask(self, section: str, **fields: str) -> None:
        self.asked.append(section)
        super().ask(section, **fields)

    def say(self, section: str, **fields: str) -> None:
        self.said.append(section)
        super().say(section, **fields)

    def call(self, task: str, *values: Any) -> Result:
        self.called.append((self.asked[-1], task))
        return super().call(task, *values)


@pytest.fixture(scope="module")
def records() -> list[Recorder]:
    """Each topic two hundred times, with the tools that it needs and some others."""
    talks = []
    for _, needed, topic in TOPICS:
        for seed in range(200):
            rng = random.Random(f"{needed}/{seed}")
            talk = Recorder(rng, make_world(rng, NAMES), make_tools(rng, frozenset(needed)))
            topic(talk)
            talks.append(talk)
    return talks


def test_the_same_seed_gives_the_same_scene(training: list[Scene]) -> None:
    """The same seed gives the same scene, so that a stopped training run can go on with its own data."""
    assert training == [make_scene(random.Random(seed), NAMES) for seed in SEEDS]


def test_the_same_seed_gives_the_same_scene_in_another_process() -> None:
    """A scene does not depend on the order in which this process happens to walk through sets."""
    told = {
        subprocess.run(
            [sys.executable, "-c", DIGEST], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


@pytest.mark.parametrize("for_examination", [False, True])
def test_every_scene_replays(for_examination: bool) -> None:
    """Each call of a scene, made again at a fresh desk, gives the result that the scene tells."""
    failed = [seed for seed in SEEDS if not replays(random.Random(seed), NAMES, held_out=for_examination)]
    assert failed == []


def test_turns_follow_each_other(training: list[Scene], held_out: list[Scene]) -> None:
    """A customer begins; after a call comes its result, after a result the assistant, who has the last word."""
    after = {"user": {"assistant", "call"}, "call": {"tool"}, "tool": {"assistant", "call"}, "assistant": {"user"}}
    for scene in training + held_out:
        kinds = ["call" if turn.call else turn.role for turn in scene.turns]
        assert kinds[0] == "user"
        assert kinds[-1] == "assistant"
        assert all(new in after[old] for old, new in pairwise(kinds)), kinds


def test_examination_shops_are_of_other_trades(training: list[Scene]) -> None:
    """Trades and product names that are kept for the examination never occur in a training scene."""
    assert not {trade.said for trade in TRADES} & {trade.said for trade in HELD_OUT_TRADES}
    kept = [*(trade.said for trade in HELD_OUT_TRADES), *NAMES.held_out]
    for scene in training:
        text = _text(scene)
        assert [name for name in kept if name in text] == []


def test_examination_names_are_used(held_out: list[Scene], training: list[Scene]) -> None:
    """The examination has its own trades and names, and none of the training's names."""
    text = "\n".join(map(_text, held_out))
    assert all(trade.said in text for trade in HELD_OUT_TRADES)
    assert all(name in text for name in NAMES.held_out)
    assert not any(name in text for name in NAMES.training)
    assert any(name in _text(scene) for scene in training for name in NAMES.training)


def test_examination_lines_are_kept_apart() -> None:
    """A line of desk_questions.txt is asked in training or in the examination, and each section has both kinds."""
    for section, lines in read_phrases("desk_questions").items():
        assert TRAINING[section]
        assert HELD_OUT[section]
        assert not set(TRAINING[section]) & set(HELD_OUT[section]), section
        assert {*TRAINING[section], *HELD_OUT[section]} == set(lines)


def test_split_keeps_about_a_seventh() -> None:
    """The part of the lines that training never sees is neither nothing nor much."""
    phrases = read_phrases("desk_questions")
    kept = sum(len(lines) for lines in split(phrases)[1].values())
    assert 0.1 < kept / sum(len(lines) for lines in phrases.values()) < 0.25


def test_every_question_is_asked(records: list[Recorder]) -> None:
    """Each section of desk_questions.txt is asked by some topic."""
    asked = {section for talk in records for section in talk.asked}
    assert sorted(set(read_phrases("desk_questions")) - asked) == []


def test_every_answer_is_said(records: list[Recorder]) -> None:
    """Each section of desk_answers.txt is said by some topic."""
    said = {section for talk in records for section in talk.said}
    assert sorted(set(ANSWERS) - said) == []


def test_every_tool_is_called(records: list[Recorder]) -> None:
    """Each task of the desk is taught."""
    assert {task for talk in records for _, task in talk.called} == set(TASKS)


def test_nothing_is_changed_without_a_yes(records: list[Recorder]) -> None:
    """An order is cancelled, returned or redirected only right after the customer has confirmed it."""
    changes = [(asked, task) for talk in records for asked, task in talk.called if task in CHANGES]
    assert {task for _, task in changes} == set(CHANGES)
    assert {asked for asked, _ in changes} == {"confirm"}


def test_a_no_changes_nothing(records: list[Recorder]) -> None:
    """After a customer's no the conversation goes on without a call."""
    denied = [talk for talk in records if "deny" in talk.asked]
    assert denied
    for talk in denied:
        assert ("deny", "cancel_order") not in talk.called
        assert not [task for asked, task in talk.called if asked == "deny"]


def test_calls_are_declared(training: list[Scene], held_out: list[Scene]) -> None:
    """A call names a declared tool and gives exactly its parameters, of the declared kinds."""
    for scene in training + held_out:
        declared = {tool.name: tool for tool in scene.tools}
        assert len(declared) == len(scene.tools)
        for turn in scene.turns:
            if turn.call:
                parameters = declared[turn.call.name].parameters
                assert list(turn.call.arguments) == [one.name for one in parameters]
                for one in parameters:
                    value = turn.call.arguments[one.name]
                    assert isinstance(value, int if one.kind == "integer" else str)
                    assert not one.values or value in one.values


def test_arguments_were_said_before(training: list[Scene], held_out: list[Scene]) -> None:
    """What a call gives stands literally in the conversation before it, a quantity perhaps as a word or, of one, not at all;
    only values that the tool lists are chosen.
    """
    checked = 0
    for scene in training + held_out:
        chosen = {value for tool in scene.tools for one in tool.parameters for value in one.values}
        for place, turn in enumerate(scene.turns):
            told = "\n".join(_told(scene, scene.turns[:place]))
            for value in turn.call.arguments.values() if turn.call else ():
                checked += 1
                assert value in chosen or value == 1 or _stands(value, told), (turn.call, told)
    assert checked > 500


def test_answers_are_grounded(training: list[Scene], held_out: list[Scene]) -> None:
    """Every number and every name of a true answer stands in the conversation before it."""
    for scene in training + held_out:
        for place, turn in enumerate(scene.turns):
            if turn.role == "assistant" and turn.call is None:
                assert ungrounded(turn.text, list(_told(scene, scene.turns[:place]))) == [], turn.text


def test_sentences_are_whole(training: list[Scene], held_out: list[Scene]) -> None:
    """No turn is empty, has an unfilled field or a left-over choice, and an assistant's ends with a mark."""
    for scene in training + held_out:
        for turn in scene.turns:
            if turn.call is None and turn.role != "tool":
                assert turn.text == turn.text.strip() != ""
                assert not re.search(r"[\[\]{}|]|  ", turn.text), turn.text
                assert turn.role == "user" or turn.text[-1] in ".!?", turn.text


def test_a_true_answer_says_the_same_as_itself(training: list[Scene]) -> None:
    """The judge of the examination calls every true answer right."""
    assert all(says_the_same(turn.text, turn.text) for scene in training for turn in scene.turns if turn.text)


def test_a_desk_refuses_what_it_does_not_know() -> None:
    """An unknown order, product or topic and a missing argument are errors, and change nothing."""
    rng = random.Random(1)
    world = make_world(rng, NAMES)
    desk = Desk(world)
    tools = {tool.task: tool for tool in make_tools(rng, frozenset(TASKS), own_names=0)}
    for task in ("get_order", "cancel_order"):
        assert desk.answer(tools[task], {"order_id": "nothing"}) == {"error": "no such order"}
    assert desk.answer(tools["get_product"], {"name": "nothing"}) == {"error": "no such product"}
    assert desk.answer(tools["change_address"], {"order_id": "nothing"}) == {"error": "missing argument address"}
    assert desk.orders == Desk(world).orders


def _stands(value: object, told: str) -> bool:
    return str(value) in told or (isinstance(value, int) and NUMBERS[value - 1] in told)


def _told(scene: Scene, before: tuple[Said, ...]) -> Iterator[str]:
    yield scene.system
    yield from (tool.signature for tool in scene.tools)
    for turn in before:
        yield turn.text
        if turn.role == "tool" and "\\u" in turn.text:
            yield turn.text.encode().decode("unicode-escape")
        if turn.call:
            yield from map(str, turn.call.arguments.values())


def _text(scene: Scene) -> str:
    return "\n".join(_told(scene, scene.turns)).lower()
