"""What counts as grounded, case by case."""

import pytest

from millrace.evaluation.grounding import ungrounded

TOOL = (
    '{"product": "Blue Heron Mug", "price": 1234.50, "currency": "USD", "stock": 2, "order": "A-1042", "ships": "2026-11-27"}'
)


@pytest.mark.parametrize(
    "answer",
    [
        "The Blue Heron Mug costs $1,234.50.", "It costs 1234.5 USD.", "Only 2.00 are left.",
        "Order a-1042 ships on 27 November 2026.",
        "It ships on November 27th.", "It ships on 27.11.2026.", "It ships on 11/27/2026, a day in November.",
        "It ships by the 27th.",
        "Shipping is in 2026.", "Yes! Here is one: the blue heron mug.", "1. The price is 1\u00a0234,50 €\n2. Two are left.",
        "The Blue Heron Mug's price is 1'234.50.", "I'm sorry, I can't say more.", "**Blue** it is. “Mug” and cup.",
    ],
)  # fmt: skip
def test_what_the_tool_said_is_grounded(answer: str) -> None:
    """Separators, signs of currency, case, forms of a date, list numbers and sentence starts change nothing."""
    assert ungrounded(answer, [TOOL]) == []


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("The Blue Heron Bowl is here.", ["Blue Heron Bowl"]), ("Two Blue Heron Mugs are left.", ["Blue Heron Mugs"]),
        ("It costs 1,234.05.", ["1,234.05"]), ("It costs 1.2345.", ["1.2345"]), ("Order A-1043 is packed.", ["A-1043"]),
        ("It ships on 2026-11-28.", ["2026-11-28"]), ("It ships on 27 November 2025.", ["27 November 2025"]),
        ("It ships by the 28th.", ["28th"]), ("Ask in Lyon or in Nice.", ["Lyon", "Nice"]), ("Come at 2:30 pm.", ["2:30 pm"]),
        ("3 are left, of 3.", ["3"]), ("A 3-day wait.", ["3"]), ("It holds 5kg.", ["5kg"]), ("We ship 3-5 pieces.", ["3", "5"]),
        ("Heron Blue Mug? Try a Heron Blue Mug.", ["Blue Mug", "Heron Blue Mug"]), ("Your order 1042 is packed.", ["1042"]),
    ],
)  # fmt: skip
def test_what_nobody_said_is_named(answer: str, missing: list[str]) -> None:
    """Each thing that is not in the source is given back as the answer has it, once."""
    assert ungrounded(answer, [TOOL]) == missing


def test_a_source_may_be_prose_in_many_forms() -> None:
    """Prose grounds what it says: times of day, number words, ids, people; and JSON escapes are read."""
    prose = "Anna Jones called at 14:30 on 3 May 2026; three jars (SKU-9) are left, 5 kg each."
    assert ungrounded("We noted that Anna Jones called at 2:30 pm on May 3, 2026: 3 jars of sku-9, 5kg each.", [prose]) == []
    assert ungrounded("Ask Anna Smith.", [prose, "Bob Smith wrote."]) == ["Anna Smith"]
    assert ungrounded("Come to our Café.", ['{"place": "Caf\\u00e9"}']) == []
    assert ungrounded("Talk to Anna Jones.", ['{"first": "Anna", "last": "Jones"}']) == []


def test_times_of_a_moment_are_two_facts() -> None:
    """An instant of RFC 3339 grounds its day and its time."""
    assert ungrounded("Packed on 27 Nov at 9:05 am.", ['{"packed_at": "2026-11-27T09:05:00.123Z"}']) == []


def test_each_kind_can_be_left_out() -> None:
    """`numbers` and `names` switch one kind off."""
    answer = "Ask Lyon for 7."
    assert ungrounded(answer, [""]) == ["7", "Lyon"]
    assert ungrounded(answer, [""], numbers=False) == ["Lyon"]
    assert ungrounded(answer, [""], names=False) == ["7"]
