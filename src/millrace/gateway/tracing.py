"""Traces by OpenTelemetry's SDK: a server span for each inference request, under it `hold`, `generate` and `settle`.

Attributes follow the semantic conventions for generative AI and for HTTP servers (opentelemetry.io/docs/specs/semconv),
without prompts and answers. The usage stands on the server span alone, so that nobody who sums it up counts it twice.
What the house knows besides has names of its own, `millrace.…`.

The SDK is an extra that most installations do without, so it is imported where it is used. Its environment variables hold:
OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME …
"""

from collections.abc import Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from millrace import __version__
from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.trace_context import trace_headers
from millrace.gateway.trail import NO_TRACER, Trace, Tracer, Trail
from millrace.settings.telemetry import Telemetry
from millrace.wire.answer_ids import CHAT, COMPLETION, answer_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

PROVIDER: Final = "millrace"
"""`gen_ai.provider.name`: who answers the caller, whatever makes the tokens behind it."""

OPERATIONS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
"""`gen_ai.operation.name` by path."""

ANSWER_IDS: Final = {"chat": CHAT, "text_completion": COMPLETION}
"""What the ids of answers begin with; embeddings have none."""

EXPORT_S: Final = 5.0
"""What a collector does not take in this time is dropped; a server that stops waits no longer for it either."""

Attributes = dict[str, str | int | list[str]]
Upstreams = Mapping[str, str]
"""The base addresses of the models that a server elsewhere makes the tokens of."""


def open_tracer(telemetry: Telemetry, clock: Clock, upstreams: Upstreams) -> Tracer:
    """What the settings ask for. Raises BAD_SETTING where they ask for traces and the extra is not installed."""
    if telemetry.traces_url is None:
        return NO_TRACER
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Refusal(
            Reason.BAD_SETTING,
            f"telemetry.otlp_endpoint is set, and {error.name} is not installed; "
            "install it with: pip install 'millrace[telemetry]', or take the setting out",
        ) from error
    exporter: SpanExporter = OTLPSpanExporter(endpoint=telemetry.traces_url, timeout=EXPORT_S)
    return OtelTracer(BatchSpanProcessor(exporter), clock, upstreams)


class OtelTracer:
    """Makes spans and hands those that ended to `processor`."""

    def __init__(self, processor: "SpanProcessor", clock: Clock, upstreams: Upstreams) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = _provider(processor)
        self._clock = clock
        self._upstreams = {model: _server(url) for model, url in upstreams.items()}
        self._propagator = TraceContextTextMapPropagator()
        self.tracer = self._provider.get_tracer("millrace", __version__)

    def begin(self, trail: Trail, headers: Mapping[str, str]) -> Trace:
        from opentelemetry.trace import SpanKind

        now = self._clock.now()
        span = self.tracer.start_span(
            f"{trail.method} {trail.path}", context=self._propagator.extract(headers), kind=SpanKind.SERVER, start_time=now
        )
        return OtelTrace(self, span, now - trail.began)

    def close(self) -> None:
        self._provider.shutdown()

    def headers(self, span: "Span") -> Mapping[str, str]:
        """Those by which a server that is called goes on with the trace."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return carrier

    def upstream(self, model: str | None) -> Attributes:
        """Which server makes a model's tokens, where it is not one of ours."""
        return self._upstreams.get(model or "", {})


class OtelTrace:
    """Of one request. `offset` is what the wall clock was ahead of the monotonic one at its beginning."""

    def __init__(self, tracer: OtelTracer, span: "Span", offset: int) -> None:
        self._tracer = tracer
        self._span = span
        self._offset = offset
        self._generate: Span | None = None
        self._told: Token[Mapping[str, str]] | None = None

    def generating(self, trail: Trail) -> None:
        assert trail.held is not None
        self._generate = self._child("generate", trail.held, self._tracer.upstream(trail.model))
        self._told = trace_headers.set(self._tracer.headers(self._generate))

    def end(self, trail: Trail) -> None:
        if self._told is not None:
            trace_headers.reset(self._told)
        if trail.holding is not None:
            self._child("hold", trail.holding).end(self._at(trail.held, trail))
        if self._generate is not None:
            self._generate.end(self._at(trail.generated, trail))
        if trail.generated is not None:
            self._child("settle", trail.generated).end(self._at(trail.settled, trail))
        self._finish(trail)

    def _finish(self, trail: Trail) -> None:
        from opentelemetry.trace import Status, StatusCode

        if trail.model is not None:
            self._span.update_name(f"{OPERATIONS[trail.path]} {trail.model}")
        self._span.set_attributes(_http(trail) | _request(trail) | _answer(trail) | _house(trail))
        if trail.outcome == "failed":
            self._span.set_status(Status(StatusCode.ERROR, trail.why))
        self._span.end(self._at(None, trail))

    def _child(self, name: str, begun: int, upstream: Attributes | None = None) -> "Span":
        """`upstream`: the server elsewhere that does this part of the work, if one does."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        kind = SpanKind.CLIENT if upstream else SpanKind.INTERNAL
        return self._tracer.tracer.start_span(
            name, context=set_span_in_context(self._span), kind=kind, attributes=upstream, start_time=begun + self._offset
        )

    def _at(self, instant: int | None, trail: Trail) -> int:
        """An instant of the trail on the wall clock; what was broken off ended with the request."""
        return (trail.ended if instant is None else instant) + self._offset


def _provider(processor: "SpanProcessor") -> "TracerProvider":
    """Of this service, under the name that the environment gives it, else ours."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider

    ours = Resource({"service.name": "millrace", "service.version": __version__})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


def _server(url: str) -> Attributes:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def _http(trail: Trail) -> Attributes:
    found: Attributes = {"http.request.method": trail.method, "http.route": trail.path, "url.path": trail.path}
    if trail.status:
        found["http.response.status_code"] = trail.status
    return found


def _request(trail: Trail) -> Attributes:
    found: Attributes = {"gen_ai.operation.name": OPERATIONS[trail.path], "gen_ai.provider.name": PROVIDER}
    if trail.model is not None:
        found["gen_ai.request.model"] = trail.model
    if trail.max_tokens is not None:
        found["gen_ai.request.max_tokens"] = trail.max_tokens
    return found


def _answer(trail: Trail) -> Attributes:
    found: Attributes = {}
    prefix = ANSWER_IDS.get(OPERATIONS[trail.path])
    if prefix is not None:
        found["gen_ai.response.id"] = answer_id(prefix, trail.request_id)
    if trail.finishes:
        found["gen_ai.response.finish_reasons"] = [finish.value for finish in trail.finishes]
    if trail.usage is not None:
        tokens = trail.usage.tokens
        found["gen_ai.response.model"] = trail.usage.model
        found["gen_ai.usage.input_tokens"] = tokens.input
        found["gen_ai.usage.cache_read.input_tokens"] = tokens.cached_input
        found["gen_ai.usage.output_tokens"] = tokens.output
        found["gen_ai.usage.reasoning.output_tokens"] = tokens.reasoning
    if trail.why is not None:
        found["error.type"] = trail.why
    return found


def _house(trail: Trail) -> Attributes:
    found: Attributes = {"millrace.request_id": trail.request_id, "millrace.outcome": trail.outcome}
    if trail.caller is not None:
        found["millrace.tenant_id"] = trail.caller.tenant.id
        found["millrace.project_id"] = trail.caller.project.id
        found["millrace.key_id"] = trail.caller.key.id
    return found
