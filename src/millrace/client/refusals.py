"""What went wrong, as the Refusal that the server raised, and whether asking again may help; pure."""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal

ATTEMPTS_MAX: Final = 5
"""With the waits below, a server that is being restarted is waited for."""

FIRST_WAIT_S: Final = 0.5
"""Where the server does not say how long; then twice as long each time."""

RETRY_AFTER_S_MAX: Final = 60
"""One who is asked to come back later than this is told so: a month's budget is not waited for."""

SENTENCE_MAX: Final = 1000
"""Characters of a server's own words."""

_AGAIN: Final = frozenset(
    {
        Reason.RATE_LIMIT_EXCEEDED, Reason.ENGINE_UNAVAILABLE, Reason.ENGINE_FAILED, Reason.STORE_UNAVAILABLE,
        Reason.IDEMPOTENCY_RUNNING, Reason.CONFLICT,
    }
)  # fmt: skip
"""Of these the next try may do better. CONFLICT is a receipt of a request that still runs, and says when to come back."""

_BY_STATUS: Final = {
    400: Reason.INVALID_REQUEST, 401: Reason.INVALID_API_KEY, 402: Reason.INSUFFICIENT_CREDIT, 403: Reason.MODEL_NOT_ALLOWED,
    404: Reason.NOT_FOUND, 408: Reason.REQUEST_TIMEOUT, 409: Reason.CONFLICT, 413: Reason.REQUEST_TOO_LARGE,
    422: Reason.INVALID_REQUEST, 429: Reason.RATE_LIMIT_EXCEEDED, 502: Reason.ENGINE_FAILED, 503: Reason.ENGINE_UNAVAILABLE,
    504: Reason.ENGINE_UNAVAILABLE,
}  # fmt: skip
"""For answers that are not of this house: a proxy's, another server's."""


class _Error(Struct, frozen=True):
    message: str = ""
    code: Any = None
    param: str | None = None
    limit: str | None = None


class _Envelope(Struct, frozen=True):
    error: _Error = _Error()


_DECODER: Final = msgspec.json.Decoder(_Envelope)


def from_status(status: int, body: bytes, retry_after: str | None, where: str) -> Refusal:
    """The refusal that an answer other than 200 is; its sentence is the server's own, made printable."""
    try:
        error = _DECODER.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = _Error()
    known = error.code if isinstance(error.code, str) and error.code in set(Reason) else None
    reason = Reason(known) if known else _BY_STATUS.get(status, Reason.INTERNAL_ERROR)
    sentence = _printable(error.message) or f"{where} answers with status {status} and no sentence; see that it is a Millrace"
    return Refusal(reason, sentence, param=error.param, retry_after_s=_seconds(retry_after), limit=error.limit)


def unreachable(where: str, how: str) -> Refusal:
    return Refusal(Reason.ENGINE_UNAVAILABLE, f"the server at {where} {how}; see whether it runs and its address is right")


def wait_s(refusal: Refusal, attempt: int) -> float | None:
    """How long to wait before the next try after `attempt` tries (from 1); None: there is none."""
    if attempt >= ATTEMPTS_MAX or refusal.reason not in _AGAIN:
        return None
    if refusal.retry_after_s is None:
        return None if refusal.reason is Reason.CONFLICT else FIRST_WAIT_S * 2 ** (attempt - 1)
    return refusal.retry_after_s if refusal.retry_after_s <= RETRY_AFTER_S_MAX else None


def _seconds(retry_after: str | None) -> int | None:
    """Only the form in seconds: what is a date there is not known here."""
    return int(retry_after) if retry_after is not None and re.fullmatch(r"[0-9]{1,9}", retry_after) else None


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:SENTENCE_MAX]).strip()
