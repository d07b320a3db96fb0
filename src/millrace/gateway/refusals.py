"""Which HTTP status a refusal has: one table, and the headers that go with it."""

from typing import Final

from millrace.base.errors import Reason, Refusal

STATUS: Final[dict[Reason, int]] = {
    Reason.INVALID_REQUEST: 422,
    Reason.INVALID_JSON: 400,
    Reason.INVALID_HTTP: 400,
    Reason.INVALID_API_KEY: 401,
    Reason.TENANT_SUSPENDED: 403,
    Reason.SCOPE_MISSING: 403,
    Reason.INSUFFICIENT_CREDIT: 402,
    Reason.MODEL_NOT_ALLOWED: 403,
    Reason.MODEL_NOT_FOUND: 404,
    Reason.NOT_FOUND: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.REQUEST_TIMEOUT: 408,
    Reason.CONFLICT: 409,
    Reason.IDEMPOTENCY_CONFLICT: 409,
    Reason.IDEMPOTENCY_RUNNING: 409,
    Reason.IDEMPOTENCY_ANSWER_LOST: 409,
    Reason.REQUEST_TOO_LARGE: 413,
    Reason.HEADERS_TOO_LARGE: 431,
    Reason.UNSUPPORTED_PARAMETER: 422,
    Reason.CONTEXT_LENGTH_EXCEEDED: 422,
    Reason.RATE_LIMIT_EXCEEDED: 429,
    Reason.BUDGET_EXCEEDED: 429,
    Reason.ENGINE_UNAVAILABLE: 503,
    Reason.ENGINE_FAILED: 502,
    Reason.STORE_UNAVAILABLE: 503,
    Reason.BAD_SETTING: 500,
    Reason.INTERNAL_ERROR: 500,
}

CLOSES: Final = frozenset(
    {Reason.REQUEST_TOO_LARGE, Reason.HEADERS_TOO_LARGE, Reason.REQUEST_TIMEOUT}
)
"""After these the rest of the request is not read, so the connection cannot carry another one."""

FINAL: Final = frozenset({Reason.IDEMPOTENCY_CONFLICT, Reason.IDEMPOTENCY_ANSWER_LOST})
"""The same request again is refused again. The official SDKs, which repeat every 409, are told by `x-should-retry: false`."""

Headers = list[tuple[bytes, bytes]]


class NotHere(Refusal):
    """Of the hub: NOT_FOUND with the code by which clients of its form tell what is not there."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(Reason.NOT_FOUND, sentence)
        self.code = code


def headers(refusal: Refusal) -> Headers:
    """`retry-after` where coming back helps, `x-should-retry` where it does not, `www-authenticate` where a key is missing,
    `connection: close` where it must.
    """
    found: Headers = [(b"content-type", b"application/json")]
    if refusal.retry_after_s is not None:
        found.append((b"retry-after", b"%d" % refusal.retry_after_s))
    if refusal.reason in FINAL:
        found.append((b"x-should-retry", b"false"))
    if refusal.reason is Reason.INVALID_API_KEY:
        found.append((b"www-authenticate", b"Bearer"))
    if refusal.reason in CLOSES:
        found.append((b"connection", b"close"))
    if isinstance(refusal, NotHere):
        found.append((b"x-error-code", refusal.code.encode()))
    return found


def stopping() -> Refusal:
    return Refusal(Reason.ENGINE_UNAVAILABLE, "this server is being stopped; try again in a few seconds", retry_after_s=5)
