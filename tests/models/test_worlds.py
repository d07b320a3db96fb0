"""The generator of the bundled model's dialogues: it may only teach what a good assistant would say."""

import random
import re
from collections.abc import Iterator

import pytest
from models.tiny.answers import hours_on, ships_to
from models.tiny.conversation import Dialogue
from models.tiny.dialogues import make_dialogue
from models.tiny.drills import make_drill
from models.tiny.odd import odd_name
from models.tiny.phrases import read_phrases
from models.tiny.spin import casual, join_words, pick, spin
from models.tiny.worlds import make_shop, system_prompt

SEEDS = range(300)
MONEY = re.compile(r"[$€£]\d[\d.]*\d|[$€£]\d|\d[\d.]* (?:euros|dollars|yuan)")
NUMBER = re.compile(r"\d[\d.:]*\d|\d")
COUNTING = re.compile(r"1, 2, 3")


@pytest.fixture(scope="module")
def dialogues() -> list[Dialogue]:
    return [make_dialogue(random.Random(seed)) for seed in SEEDS]


def test_the_same_seed_gives_the_same_dialogues(dialogues: list[Dialogue]) -> None:
    """The same seed gives the same dialogues, so that a stopped training run can go on with its own data."""
    assert dialogues == [make_dialogue(random.Random(seed)) for seed in SEEDS]


def test_dialogues_alternate(dialogues: list[Dialogue]) -> None:
    """After an optional system prompt, user and assistant speak in turn, and the assistant has the last word."""
    for dialogue in dialogues:
        roles = [turn.role for turn in dialogue if turn.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles
        assert "system" not in [turn.role for turn in dialogue[1:]]


def test_a_price_is_the_shops_own(dialogues: list[Dialogue]) -> None:
    """Every amount of money that the assistant names stands in the system prompt."""
    named = 0
    for told, said in _answers(dialogues):
        amounts = MONEY.findall(said)
        named += len(amounts)
        assert all(amount in told for amount in amounts), said
    assert named > 100


def test_a_number_was_told(dialogues: list[Dialogue]) -> None:
    """Every figure of an answer was told by the shop or by the customer; only counting goes beyond."""
    for dialogue in dialogues:
        told = " ".join(turn.text for turn in dialogue if turn.role != "assistant").lower()
        for _, said in _answers([dialogue]):
            if not COUNTING.search(said):
                assert all(number in told for number in NUMBER.findall(said)), said


def test_answers_are_whole_sentences(dialogues: list[Dialogue]) -> None:
    """No answer is empty, has an unfilled field or a left-over bracket, or ends without a mark."""
    for _, said in _answers(dialogues):
        assert said == said.strip()
        assert not re.search(r"[\[\]{}]|  ", said), said
        assert said[-1] in ".!?。！？", said


def test_it_never_takes_itself_for_another_model(dialogues: list[Dialogue]) -> None:
    """The assistant calls itself millrace-tiny; it names Qwen only as a model that Millrace can load."""
    spoken = [said for _, said in _answers(dialogues)]
    assert any("millrace-tiny" in said for said in spoken)
    assert not [said for said in spoken if re.search(r"I am (Qwen|ChatGPT|GPT|Gemini|Llama)", said)]


def test_a_closed_day_is_closed() -> None:
    """A day outside the opening hours is answered with closed, an open day with its own hours."""
    rng = random.Random(4)
    for shop in (make_shop(rng) for _ in range(200)):
        if shop.hours:
            said = hours_on(rng, shop, "Sunday")
            assert ("closed on Sunday" in said) == (shop.hours.sunday is None)
            assert shop.hours.weekdays in hours_on(rng, shop, "Monday")


def test_ships_only_to_listed_countries() -> None:
    """A country is confirmed exactly when the shop lists it."""
    rng = random.Random(5)
    for shop in (make_shop(rng) for _ in range(200)):
        if shop.countries is not None:
            assert ships_to(rng, shop, "Japan").startswith("Yes") == ("Japan" in shop.countries)


def test_every_told_fact_stands_in_the_prompt() -> None:
    """The system prompt tells every fact of the shop literally, so that an answer can copy it."""
    rng = random.Random(6)
    for shop in (make_shop(rng) for _ in range(200)):
        prompt = system_prompt(rng, shop)
        facts = [shop.delivery_time, shop.delivery_cost, shop.free_from, shop.return_days, shop.email, shop.phone]
        facts += [product.price for product in shop.products] + [order.number for order in shop.orders]
        assert [fact for fact in facts if fact and fact not in prompt] == []


def test_drills_copy() -> None:
    """A drill's answers and calls hold no word that was not said before them, but those that join them."""
    joining = {"the", "is", "of", "and", "tool_call", "name", "arguments"}
    for seed in range(100):
        dialogue = make_drill(random.Random(seed))
        for place, turn in enumerate(dialogue):
            if turn.role == "assistant":
                told = " ".join(before.text for before in dialogue[:place]).lower()
                words = set(re.findall(r"\w+", turn.text.lower())) - joining
                assert [word for word in words if word not in told] == []


def test_odd_names_are_letters() -> None:
    """An odd name is one to four words of letters, so that nothing in it means something to the phrase grammar."""
    names = [odd_name(random.Random(seed)) for seed in range(300)]
    assert all(re.fullmatch(r"[A-Za-z]+( [A-Za-z]+){0,3}", name) for name in names)
    assert len(set(names)) > 250


def test_spin_fills_and_chooses() -> None:
    """`[a|b]` picks one, also when nested, and `{field}` is filled."""
    assert {spin(random.Random(seed), "[a|[b|c]] {x}!", x="d") for seed in range(40)} == {"a d!", "b d!", "c d!"}
    assert pick(random.Random(1), ("one",)) == "one"
    with pytest.raises(KeyError):
        spin(random.Random(1), "{unknown}")


def test_slips_of_the_finger_spare_digits() -> None:
    """A hurried customer's order number stays as it is."""
    assert all("48213" in casual(random.Random(seed), "Where is order 48213?") for seed in range(200))


def test_words_are_joined() -> None:
    """One word stays alone, the last of several is joined by `and`."""
    assert [join_words(["a"]), join_words(["a", "b", "c"])] == ["a", "a, b and c"]


def test_phrases_are_read_by_section() -> None:
    """Each section of a phrase file is a tuple of its lines, without remarks."""
    phrases = read_phrases("chinese_talk")
    assert "你好" in phrases["hello"]
    assert all(lines for lines in phrases.values())


def _answers(dialogues: list[Dialogue]) -> Iterator[tuple[str, str]]:
    """(system prompt or nothing, what the assistant says), for each answer."""
    for dialogue in dialogues:
        told = dialogue[0].text if dialogue[0].role == "system" else ""
        yield from ((told, turn.text) for turn in dialogue if turn.role == "assistant")
