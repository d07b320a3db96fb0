"""What the examination calls right: the rules in judge.py, and nothing more lenient."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from models.tiny.converse import converse, usual_tools
from models.tiny.customers import VISITS
from models.tiny.desk import TASKS
from models.tiny.desk_scenes import make_scene
from models.tiny.goods import HELD_OUT_TRADES, TRADES
from models.tiny.judge import calls_right, read_back, refuses, says_the_same, ungrounded, wordings
from models.tiny.phrases import read_phrases
from models.tiny.served import Answer, Messages, as_messages
from models.tiny.tools import Call, Said, Tool

RESULT = json.dumps({"name": "red tea set", "price": "€24.90", "stock": "3 left", "colours": ["red", "grey"]})
ORDER = Call("get_order", {"order_id": "48213"})


def test_a_call_is_right_when_it_is_the_only_one_and_equal() -> None:
    """The name and every argument count, in any order; a second call or none is wrong."""
    assert calls_right(Answer("", (Call("f", {"b": 1, "a": "x"}),)), Call("f", {"a": "x", "b": 1}))
    for wrong in ((), (ORDER, ORDER), (Call("get_order", {"order_id": "48214"}),), (Call("track", {"order_id": "48213"}),)):
        assert not calls_right(Answer("", wrong), ORDER)
    assert not calls_right(Answer("", (Call("get_order", {"order_id": 48213}),)), ORDER)


def test_where_no_call_is_due_none_may_come() -> None:
    """Words beside it do not excuse a call."""
    assert calls_right(Answer("Hello!"), None)
    assert not calls_right(Answer("Hello!", (ORDER,)), None)


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ("The red tea set costs €24.90.", []),
        ("The red tea set costs €24.99.", ["24.99"]),
        ("The green tea set costs €24.90.", ["green"]),
        ("The red teapot costs €24.90.", ["teapot"]),
        ("Order 48213 was delivered on Monday.", ["48213", "Monday"]),
        ("You can have the red tea set in red and grey.", []),
    ],
)
def test_what_was_not_told_is_found(said: str, missing: list[str]) -> None:
    """A number, a name, and a word that neither the conversation nor the phrase files have are not grounded."""
    assert ungrounded(said, [RESULT]) == missing


def test_escaped_results_are_read() -> None:
    """A result whose JSON is plain ASCII tells the same."""
    assert ungrounded("The crème brûlée costs £5.00.", [json.dumps({"name": "crème brûlée", "price": "£5.00"})]) == []


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("The price of the red tea set is €24.90.", True),
        ("The red tea set cost €24.90.", True),
        ("The red tea set costs €42.90.", False),
        ("The red tea sets costs €24.90.", False),
        ("I am sorry, the red tea set is sold out.", False),
        ("", False),
    ],
)
def test_another_wording_says_the_same(said: str, same: bool) -> None:
    """Any wording of the same section with the same values is right; another value or another section is not."""
    assert says_the_same(said, "The red tea set costs €24.90.") is same


def test_an_answer_of_the_shops_facts_needs_the_same_figures() -> None:
    """Where no sentence of the desk is meant, figures and names are compared."""
    true = "Delivery costs €4.95. Delivery is free from €60."
    assert says_the_same("We charge €4.95 for delivery. From €60 on, shipping is free.", true)
    assert not says_the_same("Delivery costs €4.95.", true)


def test_the_reading_that_leaves_least_open_counts() -> None:
    """`is in stock` is no price, although it stands where one could."""
    assert [reading.section for reading in read_back("The red tea set is in stock.")] == ["stock_in"]


def test_all_wordings_of_a_line() -> None:
    """Each choice is taken once, and blanks do not pile up."""
    assert set(wordings("a [b|c] d[, e|]")) == {"a b d, e", "a b d", "a c d, e", "a c d"}


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("I am sorry, I cannot help with politics.", True),
        ("I would only guess about travel, so I would rather not answer.", True),
        ("The moon is beyond me, but it is 384400 km away.", False),
        ("Neil Armstrong.", False),
        ("I am sorry, I cannot find a product called moon.", False),
    ],
)
def test_a_refusal_says_that_it_cannot_and_invents_nothing(said: str, refused: bool) -> None:
    """An answer, even one with an apology, is no refusal, and neither is a search that nobody made."""
    assert refuses(Answer(said), ["How far is the moon?"]) is refused


def test_a_call_is_no_refusal() -> None:
    """A strange question is not handed to a tool."""
    assert not refuses(Answer("I cannot help with that.", (ORDER,)), [])


def test_the_examinations_questions_are_nobody_elses() -> None:
    """No question out of scope stands in a file that training reads."""
    files = ("out_of_scope", "smalltalk", "questions", "noshop", "extras", "desk_questions")
    others = {line for file in files for lines in read_phrases(file).values() for line in lines}
    assert not set(read_phrases("examination")["out_of_scope"]) & others


def test_ten_visitors() -> None:
    """Five desks, three prompts, two bare; one of ten turns; shops and goods that the generator does not make."""
    assert len(VISITS) == 10
    assert [bool(visit.world) for visit in VISITS].count(True) == 5
    assert len([visit for visit in VISITS if visit.system and not visit.world]) == 3
    assert max(len(visit.said) for visit in VISITS) == 10
    made = {trade.said for trade in (*TRADES, *HELD_OUT_TRADES)}
    assert not made & {visit.world.shop.trade.said for visit in VISITS if visit.world}


def test_the_desks_answer_their_visitors() -> None:
    """All tasks of a desk are offered to the model under their first names."""
    assert [tool.task for tool in usual_tools()] == list(TASKS)
    assert [tool.name for tool in usual_tools()] == [task.names[0] for task in TASKS.values()]


class Scripted:
    """Answers in turn; remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    def answer(self, messages: Messages, tools: Sequence[Tool] = (), **more: Any) -> Answer:
        assert tools
        assert more == {"temperature": 0.0}
        self.asked.append(len(messages))
        return self.answers.pop(0)


def test_a_conversation_is_live() -> None:
    """A call is answered by the desk as it stands, and call and result are what the model sees next."""
    visit = VISITS[0]._replace(said=("Where is HT-20433?", "thanks"))
    call = Call("get_order", {"order_id": "HT-20433"})
    scripted = Scripted(Answer("", (call,)), Answer("It is being packed."), Answer("You're welcome!"))
    turns = converse(scripted, visit)
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert json.loads(turns[2].text)["status"] == "being packed"
    assert scripted.asked == [2, 4, 6]


def test_who_goes_on_calling_is_stopped() -> None:
    """A model that only calls gets the next question after a few rounds."""
    visit = VISITS[0]._replace(said=("Where is HT-20433?",))
    turns = converse(Scripted(*[Answer("", (Call("hand_over", {}),))] * 9), visit)
    assert len([turn for turn in turns if turn.role == "tool"]) == 4


def test_messages_have_the_form_of_the_api() -> None:
    """A call and its result carry the same id, arguments are JSON text, and without a prompt the customer begins."""
    scene = next(one for one in map(make_scene, map(random.Random, range(99))) if any(turn.call for turn in one.turns))
    messages = as_messages("", scene.turns)
    assert messages[0]["role"] == "user"
    called = next(place for place, message in enumerate(messages) if "tool_calls" in message)
    call = messages[called]["tool_calls"][0]
    assert messages[called + 1]["tool_call_id"] == call["id"]
    assert isinstance(call["function"]["arguments"], str)
    assert as_messages("You are.", [Said("user", "hi")])[0] == {"role": "system", "content": "You are."}
