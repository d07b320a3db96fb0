"""One line for each request, at its end: the event `request` of the logger millrace.request.

It names ids, never secrets, and no prompt or answer unless the operator asked for them. Times are milliseconds since the
request's head was read, amounts decimal strings. What does not apply is left out.
"""

import logging
from typing import Final

from millrace.base.errors import Refusal
from millrace.base.money import render_amount
from millrace.gateway.trail import Trail
from millrace.settings.logs import Logs

EVENT: Final = "request"

_log: Final = logging.getLogger("millrace.request")

Fields = dict[str, str | int | float | bool]


class RequestLog:
    """Writes the lines, or none where the settings say so."""

    def __init__(self, logs: Logs) -> None:
        self.prompts = logs.prompts
        self._requests = logs.requests

    def write(self, trail: Trail) -> None:
        if self._requests and _log.isEnabledFor(logging.INFO):
            _write(fields(trail))

    def write_unread(self, refusal: Refusal, status: int) -> None:
        """Of bytes that were refused before they were a request."""
        if self._requests and _log.isEnabledFor(logging.INFO):
            _write({"status": status, "outcome": "refused", "reason": refusal.reason.value})


def fields(trail: Trail) -> Fields:
    """What the line says, in the order in which it says it."""
    found: Fields = {"request_id": trail.request_id, "method": trail.method, "path": trail.path}
    caller = trail.caller
    if caller is not None:
        found["tenant_id"] = caller.tenant.id
        found["project_id"] = caller.project.id
        found["key_id"] = caller.key.id
    if trail.model is not None:
        found["model"] = trail.model
        found["stream"] = bool(trail.stream)
    found["status"] = trail.status
    found["outcome"] = trail.outcome
    if (why := trail.why) is not None:
        found["reason"] = why
    if trail.replay_of is not None:
        found["replay_of"] = trail.replay_of
    _add_usage(found, trail)
    if trail.held is not None:
        found["hold_ms"] = _ms(trail, trail.held)
    if trail.first_byte is not None:
        found["first_byte_ms"] = _ms(trail, trail.first_byte)
    found["total_ms"] = _ms(trail, trail.ended)
    found["bytes_out"] = 0 if trail.method == "HEAD" else trail.bytes_out
    if trail.texts is not None:
        found["prompt"] = trail.texts.asked.decode("utf-8", "replace")
        found["answer"] = trail.texts.answered.decode("utf-8", "replace")
    return found


def _write(said: Fields) -> None:
    """As `_log.info` does, without the search for the line of code that says it, which is always this one."""
    _log.handle(_log.makeRecord(_log.name, logging.INFO, __file__, 0, EVENT, (), None, extra={"fields": said}))


def _add_usage(found: Fields, trail: Trail) -> None:
    usage = trail.usage
    if usage is None:
        return
    tokens = usage.tokens
    found["tokens_input"] = tokens.input
    found["tokens_cached_input"] = tokens.cached_input
    found["tokens_output"] = tokens.output
    found["tokens_reasoning"] = tokens.reasoning
    found["tokens_waived"] = usage.waived
    found["amount"] = render_amount(usage.amount)
    found["currency"] = usage.currency
    found["counted_by"] = usage.counted_by.value


def _ms(trail: Trail, instant: int) -> float:
    return round((instant - trail.began) / 1e6, 3)
