"""Refusals: every expected 'no' of the house is a `Refusal` with a reason from a closed list and a sentence.

A reason becomes an HTTP status in one table (gateway/refusals.py) and exit code 1 on the command line. Any other
exception is a bug: it is logged and counted at the outermost loop and nowhere else.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something is refused; the value is the `code` that callers see."""

    INVALID_REQUEST = "invalid_request"
    INVALID_JSON = "invalid_json"
    INVALID_HTTP = "invalid_http"
    INVALID_API_KEY = "invalid_api_key"
    TENANT_SUSPENDED = "tenant_suspended"
    SCOPE_MISSING = "scope_missing"
    INSUFFICIENT_CREDIT = "insufficient_credit"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    IDEMPOTENCY_RUNNING = "idempotency_running"
    IDEMPOTENCY_ANSWER_LOST = "idempotency_answer_lost"
    REQUEST_TOO_LARGE = "request_too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    BUDGET_EXCEEDED = "budget_exceeded"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    ENGINE_FAILED = "engine_failed"
    STORE_UNAVAILABLE = "store_unavailable"
    BAD_SETTING = "bad_setting"
    INTERNAL_ERROR = "internal_error"


class Refusal(Exception):
    """An expected 'no'.

    `sentence` names the thing and the remedy and never contains a secret or another tenant's data.
    """

    def __init__(
        self,
        reason: Reason,
        sentence: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.param = param
        self.retry_after_s = retry_after_s
        self.limit = limit
