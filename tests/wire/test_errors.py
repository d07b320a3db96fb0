"""The error envelope."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.wire.errors import ERROR_TYPES, render_error

TYPES_OF_THE_API = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "insufficient_quota",
    "rate_limit_error",
    "server_error",
}


def test_every_reason_has_a_type() -> None:
    """The table is exhaustive over Reason and has only types that client libraries know."""
    assert set(ERROR_TYPES) == set(Reason)
    assert set(ERROR_TYPES.values()) == TYPES_OF_THE_API


@pytest.mark.parametrize(
    ("refusal", "body"),
    [
        (
            Refusal(Reason.INVALID_API_KEY, "not known"),
            b'{"error":{"message":"not known","type":"authentication_error","param":null,"code":"invalid_api_key"}}',
        ),
        (
            Refusal(Reason.UNSUPPORTED_PARAMETER, "no", param="n"),
            b'{"error":{"message":"no","type":"invalid_request_error","param":"n","code":"unsupported_parameter"}}',
        ),
        (
            Refusal(Reason.RATE_LIMIT_EXCEEDED, "wait", retry_after_s=3, limit="tpm"),
            b'{"error":{"message":"wait","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded","limit":"tpm"}}',
        ),
    ],
    ids=["plain", "with its parameter", "with its limit"],
)
def test_the_envelope(refusal: Refusal, body: bytes) -> None:
    """message, type, param and code are always there; limit only where a limit was met."""
    assert render_error(refusal) == body
