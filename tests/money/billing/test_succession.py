"""Which of two marks of a dead server's request counts: the journal's, or the one that was flushed."""

import pytest

from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.billing.succession import _further
from millrace.money.metering.journal import NOTHING_RECORDED, Watermark


def mark(output: int, confirmed: int, counted_by: CountedBy = CountedBy.ENGINE) -> Watermark:
    return Watermark(TokenCounts(10, 0, output, 0), confirmed, 0, counted_by)


@pytest.mark.parametrize(
    ("journal", "flushed", "counts"),
    [
        (None, None, NOTHING_RECORDED),
        (mark(9, 8), None, mark(9, 8)),
        (None, mark(9, 8), mark(9, 8)),
        (mark(9, 8), mark(5, 4), mark(9, 8)),
        (mark(5, 4), mark(9, 8), mark(9, 8)),  # the journal lost its end
        (mark(5, 4), mark(6, 4), mark(6, 4)),  # as much was sent, and more recorded
        (mark(80, 80, CountedBy.ENGINE_FINAL), mark(90, 90), mark(80, 80, CountedBy.ENGINE_FINAL)),  # the engine's last word
        (mark(70, 60), mark(50, 50, CountedBy.ENGINE_FINAL), mark(50, 50, CountedBy.ENGINE_FINAL)),
    ],
)
def test_whichever_knows_more_counts(journal: Watermark | None, flushed: Watermark | None, counts: Watermark) -> None:
    """And the engine's last count before any estimate."""
    assert _further(journal, flushed) == counts
