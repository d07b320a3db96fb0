"""The life of a job as a table: what may follow what. The database holds the same names."""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """As the OpenAI API calls them."""

    VALIDATING = "validating_files"
    """Its files are not counted yet, so nobody knows what it costs."""
    QUEUED = "queued"
    """It can run, and nobody has it in hand: before its start, or between two attempts."""
    RUNNING = "running"
    """A supervisor has it in hand, and its whole price is held."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


NEXT: Final[dict[Status, frozenset[Status]]] = {
    Status.VALIDATING: frozenset({Status.QUEUED, Status.FAILED, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}

OVER: Final = frozenset(status for status, following in NEXT.items() if not following)

