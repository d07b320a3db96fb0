"""Ids of answers and of their receipts."""

import pytest

from millrace.wire.answer_ids import CHAT, COMPLETION, answer_id, parse_receipt_id

REQUEST = "req_01k8zzzzzzzzzzzzzzzzzzzzzz"


def test_an_answer_carries_the_digits_of_its_request() -> None:
    """The id of an answer has the API's prefix and the request's own digits."""
    assert answer_id(CHAT, REQUEST) == "chatcmpl-01k8zzzzzzzzzzzzzzzzzzzzzz"
    assert answer_id(COMPLETION, REQUEST) == "cmpl-01k8zzzzzzzzzzzzzzzzzzzzzz"


@pytest.mark.parametrize("given", [REQUEST, answer_id(CHAT, REQUEST), answer_id(COMPLETION, REQUEST)])
def test_any_of_its_ids_finds_the_receipt(given: str) -> None:
    """A caller may ask for the receipt by the id in the header or by the id in the body."""
    assert parse_receipt_id(given) == REQUEST


def test_other_texts_are_left_alone() -> None:
    """What is no id of an answer is looked up as it is, and will not be found."""
    assert parse_receipt_id("hello") == "hello"
