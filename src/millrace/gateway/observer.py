"""Watches requests: gives each a trail, and at its end writes its line, ends its trace and counts its times."""

from typing import Final

from millrace.base.clock import Clock
from millrace.base.errors import Refusal
from millrace.gateway.exchange import Exchange
from millrace.gateway.metrics import Metrics
from millrace.gateway.refusals import STATUS
from millrace.gateway.request_log import RequestLog
from millrace.gateway.trail import CLIENT_GONE, NO_TRACER, Texts, Tracer, Trail
from millrace.settings.logs import Logs

TRACE_HEADERS: Final = ("traceparent", "tracestate")
"""Of W3C Trace Context."""


class Observer:
    """Of one gateway."""

    def __init__(self, clock: Clock, metrics: Metrics, logs: Logs = Logs(), tracer: Tracer = NO_TRACER) -> None:  # noqa: B008 - frozen
        self._monotonic = clock.monotonic
        self._metrics = metrics
        self._log = RequestLog(logs)
        self._tracer = tracer

    def begin(self, request_id: str, method: str, path: str) -> Trail:
        """A request came in."""
        return Trail(request_id, method, path, self._monotonic)

    def inference(self, exchange: Exchange) -> None:
        """It asks for tokens, so it is traced, and its texts are kept where the operator wants them."""
        if self._log.prompts:
            exchange.trail.texts = Texts()
        if self._tracer is not NO_TRACER:
            found = {name: exchange.header(name.encode()) for name in TRACE_HEADERS}
            headers = {name: value.decode("latin-1") for name, value in found.items() if value is not None}
            exchange.trail.trace = self._tracer.begin(exchange.trail, headers)

    def refused(self, trail: Trail, refusal: Refusal) -> None:
        """A refusal is about to be told. One that came between the wish to hold and the hold is the books'."""
        trail.refuse(refusal)
        self._metrics.refused(refusal.reason)
        if trail.holding is not None and trail.held is None:
            self._metrics.hold_refused(refusal.reason)

    def left(self, trail: Trail) -> None:
        """The client went before its request was whole."""
        trail.reason = CLIENT_GONE
        self._metrics.refused(CLIENT_GONE)

    def broke(self, trail: Trail, refusal: Refusal) -> None:
        """The gateway itself failed it."""
        trail.refuse(refusal)
        self._metrics.broke()

    def unread(self, refusal: Refusal) -> None:
        """A connection was refused before it was a request."""
        self._metrics.refused(refusal.reason)
        self._log.write_unread(refusal, STATUS[refusal.reason])

    def end(self, trail: Trail) -> None:
        """Nothing more will happen to the request."""
        trail.ended = self._monotonic()
        usage, first_byte, generated = trail.usage, trail.first_byte, trail.generated
        if trail.stream and usage is not None and first_byte is not None and generated is not None:
            self._metrics.streamed(usage, first_byte - trail.began, generated - first_byte)
        trail.trace.end(trail)
        self._log.write(trail)
