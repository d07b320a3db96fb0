"""What a claim on a key is, what is kept of its answer, and how a repeat finds it: values, no I/O.

Theory of operation. A claim is made in the transaction of its request's hold and ends in the one of its settlement, so the
two cannot disagree about whether something was billed. `running` → `kept` (there is an answer), `too_large` (there was one,
larger than is kept) or `lost` (something was billed, and the server that made it died with it). Where nothing was billed the
claim is deleted, and a repeat runs anew.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from millrace.base.clock import NS_PER_S

KEPT_NS: Final = 24 * 3600 * NS_PER_S
"""How long an answer is kept at the least: a client that was down over night finds it in the morning."""

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Compressed: a stream of some 100,000 tokens. A larger answer is delivered and billed as ever, but not kept."""


class State(StrEnum):
    RUNNING = "running"
    KEPT = "kept"
    TOO_LARGE = "too_large"
    LOST = "lost"


class Space(Struct, frozen=True, kw_only=True):
    """Keys and the bytes of their answers: what a tenant has, or the most that it may have.

    A key that is running counts with ANSWER_BYTES_MAX, so that its answer has a place whatever it comes to.
    """

    keys: int = 0
    bytes: int = 0


class Claim(Struct, frozen=True, kw_only=True):
    """A request's wish to be the only one with its key. `key` and `body` are digests; `space_max` is its tenant's bound."""

    key: str
    tenant_id: str
    body: str
    request_id: str
    epoch: int
    space_max: Space


class Answered(Struct, frozen=True, kw_only=True):
    """What a request was answered, for its repeats: the compressed body, None where that is too large to keep."""

    request_id: str
    status: int
    form: str
    """The answer's content type."""
    answer: bytes | None


class Kept(Struct, frozen=True, kw_only=True):
    """A claim that stands: the request that made it, and what is left of it. `answer` is there when `state` is KEPT."""

    request_id: str
    body: str
    state: State
    status: int = 0
    form: str = ""
    answer: bytes = b""


class Repeated(Exception):
    """The key is taken by an earlier request, which runs or has ended: `find` says which and how."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key} is claimed already")
