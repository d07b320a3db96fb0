"""What became of a request, told from what was noted of it."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.gateway.trail import CLIENT_GONE, Trail


def trail(status: int, reason: str | None, *, held: bool = False) -> Trail:
    made = Trail("req_1", "GET", "/", lambda: 0)
    made.status = status
    made.reason = reason
    if held:
        made.hold()
        made.generate()
    return made


@pytest.mark.parametrize(
    ("noted", "outcome"),
    [
        (trail(200, None), "completed"),
        (trail(404, None), "completed"),  # a page that is not there was answered as it should be
        (trail(500, None), "failed"),
        (trail(0, None), "failed"),  # its task was ended from outside
        (trail(0, CLIENT_GONE), "cancelled"),
        (trail(402, "insufficient_credit"), "refused"),
        (trail(503, "store_unavailable"), "refused"),
        (trail(503, "store_unavailable", held=True), "failed"),
        (trail(500, "internal_error"), "failed"),
    ],
)
def test_the_outcome_of_what_has_no_usage(noted: Trail, outcome: str) -> None:
    """By its reason, by whether anything was held for it, else by its status."""
    assert noted.outcome == outcome


def test_the_reason_is_that_of_the_refusal() -> None:
    """The code that the caller sees."""
    noted = trail(422, None)
    noted.refuse(Refusal(Reason.CONTEXT_LENGTH_EXCEEDED, "too long"))
    assert noted.why == "context_length_exceeded"


def test_bytes_are_counted_and_the_first_is_timed() -> None:
    """The first piece has the time, each has its bytes."""
    instants = iter([10, 17])
    noted = Trail("req_1", "GET", "/", lambda: next(instants))
    noted.write(b"abc")
    noted.write(b"de")
    assert (noted.first_byte, noted.bytes_out) == (17, 5)
