"""A refusal carries its reason and its sentence, and nothing else is shown."""

from millrace.base.errors import Reason, Refusal


def test_a_refusal_reads_as_its_sentence() -> None:
    """What is logged or printed of a refusal is the sentence."""
    refusal = Refusal(Reason.RATE_LIMIT_EXCEEDED, "too many", param="rpm", retry_after_s=3, limit="rpm")
    assert str(refusal) == refusal.sentence == "too many"
    assert refusal.reason == "rate_limit_exceeded"
    assert (refusal.param, refusal.retry_after_s, refusal.limit) == ("rpm", 3, "rpm")


def test_reasons_are_codes() -> None:
    """Every reason is one lower-case word with underscores: it is a public code that programs compare."""
    assert all(reason.value == reason.name.lower() for reason in Reason)
