"""What is noted of one request on its way through the gateway, for its line in the log, its trace and its metrics.

Whoever handles the request notes what he does, which costs next to nothing; the observer reads it once, at the end.
Instants are nanoseconds of the monotonic clock, None where the request never came there.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from millrace.base.errors import Refusal
from millrace.generation.chunk import Finish
from millrace.money.metering.usage import Status, Usage
from millrace.tenants.values import Caller

CLIENT_GONE: Final = "client_gone"
"""The reason of a request that ended because nobody waited for it any more."""

TEXT_BYTES_MAX: Final = 64 * 1024
"""Of what was asked and of what was answered, where they are kept at all: more than a person reads in a log."""


class Trace(Protocol):
    """The spans of one request; tracing.py has the real ones."""

    def generating(self, trail: "Trail") -> None:
        """The engine is about to work: what it calls is told of the trace (base/trace_context.py)."""
        ...

    def end(self, trail: "Trail") -> None:
        """The request is over; everything about it stands in its trail."""
        ...


class Tracer(Protocol):
    """Begins the trace of a request, or goes on with its caller's."""

    def begin(self, trail: "Trail", headers: Mapping[str, str]) -> Trace:
        """`headers` are those of W3C Trace Context that the request came with."""
        ...

    def close(self) -> None:
        """Send what is not sent yet. Blocks for some seconds where the collector does not answer."""
        ...


class NoTrace:
    """Nothing is traced: two calls of empty methods for each request."""

    def generating(self, trail: "Trail") -> None:
        pass

    def end(self, trail: "Trail") -> None:
        pass


class NoTracer:
    """Traces nothing."""

    def begin(self, trail: "Trail", headers: Mapping[str, str]) -> Trace:  # noqa: ARG002 - there is nothing to do with them
        return NO_TRACE

    def close(self) -> None:
        pass


NO_TRACE: Final = NoTrace()
NO_TRACER: Final = NoTracer()


class Texts:
    """What a request asked and was answered, as bytes on the wire, each cut at TEXT_BYTES_MAX."""

    __slots__ = ("answered", "asked")

    def __init__(self) -> None:
        self.asked = b""
        self.answered = b""

    def ask(self, body: bytes) -> None:
        self.asked = body[:TEXT_BYTES_MAX]

    def answer(self, data: bytes) -> None:
        if len(self.answered) < TEXT_BYTES_MAX:
            self.answered = (self.answered + data)[:TEXT_BYTES_MAX]


class Trail:
    """Of one request. `texts` are there only where the operator asked for prompts and answers in the log."""

    __slots__ = (
        "began", "bytes_out", "caller", "ended", "finishes", "first_byte", "generated", "held", "holding", "max_tokens",
        "method", "model", "monotonic", "path", "reason", "replay_of", "request_id", "settled", "status", "stream", "texts",
        "trace", "usage",
    )  # fmt: skip

    def __init__(self, request_id: str, method: str, path: str, monotonic: Callable[[], int]) -> None:
        self.request_id = request_id
        self.method = method
        self.path = path
        self.monotonic = monotonic
        self.texts: Texts | None = None
        self.trace: Trace = NO_TRACE
        self.caller: Caller | None = None
        self.model: str | None = None
        self.stream: bool | None = None
        self.max_tokens: int | None = None
        self.usage: Usage | None = None
        self.reason: str | None = None
        self.replay_of: str | None = None
        """The earlier request with its Idempotency-Key, whose answer it was sent again and which was billed."""
        self.finishes: list[Finish] = []
        self.status = 0
        self.bytes_out = 0
        self.began = self.ended = monotonic()
        self.holding: int | None = None
        self.held: int | None = None
        self.generated: int | None = None
        self.settled: int | None = None
        self.first_byte: int | None = None

    def ask(self, model: str, *, stream: bool, max_tokens: int | None = None) -> None:
        """The body was understood."""
        self.model = model
        self.stream = stream
        self.max_tokens = max_tokens

    def hold(self) -> None:
        """The books are asked for a hold."""
        self.holding = self.monotonic()

    def generate(self) -> None:
        """The hold is there; from here on the engine works."""
        self.held = self.monotonic()
        self.trace.generating(self)

    def finish(self, finish: Finish | None) -> None:
        """What a chunk says of its choice's end, which is nothing in most of them."""
        if finish is not None:
            self.finishes.append(finish)

    def settle(self) -> None:
        """The engine is done, in whatever way; the books are asked to settle."""
        self.generated = self.monotonic()

    def bill(self, usage: Usage) -> None:
        """It is settled."""
        self.settled = self.monotonic()
        self.usage = usage

    def refuse(self, refusal: Refusal) -> None:
        self.reason = refusal.reason.value

    def write(self, data: bytes) -> None:
        """The kernel took a piece of the answer's body."""
        self.bytes_out += len(data)
        if self.first_byte is None:
            self.first_byte = self.monotonic()
        if self.texts is not None:
            self.texts.answer(data)

    @property
    def outcome(self) -> str:
        """completed, cancelled, failed or refused; what was never held for goes by its reason, else by its status."""
        if self.usage is not None:
            return self.usage.status.value
        if self.reason is None:
            answered = 0 < self.status < 500
            return Status.COMPLETED.value if answered else Status.FAILED.value
        if self.reason == CLIENT_GONE:
            return Status.CANCELLED.value
        return Status.FAILED.value if self.held is not None or self.status == 500 else "refused"

    @property
    def why(self) -> str | None:
        """The reason of an outcome that is none of the good ones."""
        if self.reason is None and self.usage is not None and self.usage.status is Status.CANCELLED:
            return CLIENT_GONE
        return self.reason
