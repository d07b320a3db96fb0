"""The error envelope (OpenAI API form). A reason's HTTP status is the gateway's to say, its `type` is said here."""

from typing import Final

from msgspec import UNSET, Struct, UnsetType

from millrace.base.errors import Reason, Refusal
from millrace.wire.json_body import encode

ERROR_TYPES: Final[dict[Reason, str]] = {
    Reason.INVALID_REQUEST: "invalid_request_error",
    Reason.INVALID_JSON: "invalid_request_error",
    Reason.INVALID_HTTP: "invalid_request_error",
    Reason.INVALID_API_KEY: "authentication_error",
    Reason.TENANT_SUSPENDED: "permission_error",
    Reason.SCOPE_MISSING: "permission_error",
    Reason.INSUFFICIENT_CREDIT: "insufficient_quota",
    Reason.MODEL_NOT_ALLOWED: "permission_error",
    Reason.MODEL_NOT_FOUND: "invalid_request_error",
    Reason.NOT_FOUND: "invalid_request_error",
    Reason.METHOD_NOT_ALLOWED: "invalid_request_error",
    Reason.REQUEST_TIMEOUT: "invalid_request_error",
    Reason.CONFLICT: "invalid_request_error",
    Reason.IDEMPOTENCY_CONFLICT: "invalid_request_error",
    Reason.IDEMPOTENCY_RUNNING: "invalid_request_error",
    Reason.IDEMPOTENCY_ANSWER_LOST: "invalid_request_error",
    Reason.REQUEST_TOO_LARGE: "invalid_request_error",
    Reason.HEADERS_TOO_LARGE: "invalid_request_error",
    Reason.UNSUPPORTED_PARAMETER: "invalid_request_error",
    Reason.CONTEXT_LENGTH_EXCEEDED: "invalid_request_error",
    Reason.RATE_LIMIT_EXCEEDED: "rate_limit_error",
    Reason.BUDGET_EXCEEDED: "insufficient_quota",
    Reason.ENGINE_UNAVAILABLE: "server_error",
    Reason.ENGINE_FAILED: "server_error",
    Reason.STORE_UNAVAILABLE: "server_error",
    Reason.BAD_SETTING: "server_error",
    Reason.INTERNAL_ERROR: "server_error",
}
"""The `type` that client libraries branch on; every Reason has one."""


class _Error(Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str
    limit: str | UnsetType


class Envelope(Struct, frozen=True):
    error: _Error


def render_error(refusal: Refusal) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`, and `limit` where one was met; `retry_after_s` is a header."""
    limit = UNSET if refusal.limit is None else refusal.limit
    return encode(
        Envelope(_Error(refusal.sentence, ERROR_TYPES[refusal.reason], refusal.param, refusal.reason.value, limit))
    )
