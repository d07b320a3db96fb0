"""What is kept of an answer comes back byte for byte, and never takes more than it may."""

import random

import pytest

from millrace.money.idempotency.answer import PIECE_BYTES, Keeping, pieces
from millrace.money.idempotency.claim import ANSWER_BYTES_MAX


def test_what_was_added_comes_back_byte_for_byte() -> None:
    """However it was cut when it was released."""
    frames = [b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % number for number in range(5_000)]
    keeping = Keeping()
    for frame in frames:
        keeping.add(frame)
    answered = keeping.answered("req_1", "text/event-stream")
    assert (answered.request_id, answered.status, answered.form) == ("req_1", 200, "text/event-stream")
    assert answered.answer is not None
    assert len(answered.answer) < sum(map(len, frames)) / 5
    unpacked = list(pieces(answered.answer))
    assert b"".join(unpacked) == b"".join(frames)
    assert max(map(len, unpacked)) <= PIECE_BYTES


def test_nothing_at_all_comes_back_too() -> None:
    """An empty answer is an answer."""
    answered = Keeping().answered("req_1", "application/json")
    assert answered.answer is not None
    assert b"".join(pieces(answered.answer)) == b""


def test_an_answer_whose_row_was_damaged_ends_all_the_same() -> None:
    """What is there is unpacked, and then it is said; nobody waits for an end that does not come."""
    keeping = Keeping()
    keeping.add(b"x" * 3 * PIECE_BYTES)
    answer = keeping.answered("req_1", "application/json").answer
    assert answer is not None
    with pytest.raises(ValueError, match="cut off"):
        list(pieces(answer[:-5]))


def test_an_answer_at_the_bound_is_kept_and_one_above_is_not() -> None:
    """What does not compress is kept up to ANSWER_BYTES_MAX; what is larger is dropped at once, and stays dropped."""
    noise = random.Random(1).randbytes(ANSWER_BYTES_MAX + 1)
    small, large = Keeping(), Keeping()
    small.add(noise[: ANSWER_BYTES_MAX * 99 // 100])
    kept = small.answered("req_1", "application/json").answer
    assert kept is not None
    assert ANSWER_BYTES_MAX * 99 // 100 < len(kept) <= ANSWER_BYTES_MAX
    large.add(noise)
    large.add(b"more")
    assert large.answered("req_2", "application/json").answer is None
