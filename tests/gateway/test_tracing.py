"""Traces: the spans of a request, what they say, and whose trace they belong to."""

import asyncio
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.trace_context import trace_headers
from millrace.engines.fake import FakeScript
from millrace.gateway.app import INFERENCE
from millrace.gateway.tracing import OPERATIONS, OtelTracer, open_tracer
from millrace.gateway.trail import NO_TRACER, Trail
from millrace.settings.telemetry import Telemetry

Scene = Callable[..., None]

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=opaque"}


class Collected:
    """The spans that ended, by name."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self._exporter)

    def __getitem__(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def identity(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def test_a_request_is_a_server_span_over_hold_generate_and_settle(play: Scene) -> None:
    """The three follow one another inside the request's span and name it as their parent."""
    found = Collected()

    async def scene(world: Any) -> None:
        await world.chat(stream=True)
        server = found["chat echo"]
        assert server.kind is SpanKind.SERVER
        assert server.parent is None
        stages = [found[name] for name in ("hold", "generate", "settle")]
        assert {parent_of(stage) for stage in stages} == {identity(server)}
        times = [server.start_time, *(time for stage in stages for time in (stage.start_time, stage.end_time)), server.end_time]
        assert times == sorted(times)  # type: ignore[type-var]  # none of them is None
        assert stages[1].end_time - stages[1].start_time == 660_000_000  # type: ignore[operator]  # nor are these

    play(scene, processor=found.processor, script=FakeScript(tokens=8, first_token_delay_s=0.5, token_delay_s=0.02))


def test_the_server_span_says_what_the_conventions_ask_for(play: Scene) -> None:
    """Operation, provider, model, bounds, answer id, why it finished, usage as it was settled; nothing of the texts."""
    found = Collected()

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True, max_tokens=50)
        tokens = (await world.receipt(answer))["tokens"]
        said = dict(found["chat echo"].attributes or {})
        assert said == {
            "http.request.method": "POST",
            "http.route": "/v1/chat/completions",
            "url.path": "/v1/chat/completions",
            "http.response.status_code": 200,
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "millrace",
            "gen_ai.request.model": "echo",
            "gen_ai.request.max_tokens": 50,
            "gen_ai.response.model": "echo",
            "gen_ai.response.id": answer.frames[0]["id"],
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": tokens["input"],
            "gen_ai.usage.cache_read.input_tokens": tokens["cached_input"],
            "gen_ai.usage.output_tokens": tokens["output"],
            "gen_ai.usage.reasoning.output_tokens": tokens["reasoning"],
            "millrace.request_id": answer.request_id,
            "millrace.outcome": "completed",
            "millrace.tenant_id": world.owner.id,
            "millrace.project_id": said["millrace.project_id"],
            "millrace.key_id": said["millrace.key_id"],
        }
        assert "gen_ai.usage.output_tokens" not in (found["generate"].attributes or {})

    play(scene, processor=found.processor)


def test_a_trace_of_the_caller_goes_on(play: Scene) -> None:
    """With `traceparent` the request's span is a child of the caller's, in his trace."""
    found = Collected()

    async def scene(world: Any) -> None:
        await world.chat(headers=TRACEPARENT)
        server = found["chat echo"]
        assert server.context is not None
        assert f"{server.context.trace_id:032x}" == TRACE
        assert f"{parent_of(server):016x}" == PARENT

    play(scene, processor=found.processor)


def test_a_trace_that_is_not_sampled_is_not_collected(play: Scene) -> None:
    """The caller's decision holds."""
    found = Collected()

    async def scene(world: Any) -> None:
        await world.chat(headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        assert found.spans == ()

    play(scene, processor=found.processor)


def test_a_refusal_before_the_hold_is_a_span_alone(play: Scene) -> None:
    """It has its status and error.type; a caller's mistake is no error of the server's."""
    found = Collected()

    async def scene(world: Any) -> None:
        await world.chat(key="mr_wrong")
        await world.chat(model="nothing")
        assert found.names == ["POST /v1/chat/completions", "chat nothing"]
        stranger, unknown = (dict(span.attributes or {}) for span in found.spans)
        assert (stranger["http.response.status_code"], stranger["error.type"]) == (401, "invalid_api_key")
        assert (unknown["http.response.status_code"], unknown["error.type"]) == (404, "model_not_found")
        assert {span.status.status_code for span in found.spans} == {StatusCode.UNSET}

    play(scene, processor=found.processor)


def test_an_engine_that_breaks_is_an_error(play: Scene) -> None:
    """Status ERROR with the reason, whatever status line had left."""
    found = Collected()

    async def scene(world: Any) -> None:
        await world.chat(stream=True)
        server = found["chat echo"]
        assert server.status.status_code is StatusCode.ERROR
        assert (server.attributes or {})["error.type"] == "engine_failed"
        assert sorted(found.names) == ["chat echo", "generate", "hold", "settle"]

    play(scene, processor=found.processor, script=FakeScript(tokens=100, fail_after_tokens=3))


def test_reads_are_not_traced(play: Scene) -> None:
    """Only requests for tokens are."""
    found = Collected()

    async def scene(world: Any) -> None:
        await world.call("GET", "/v1/models")
        assert found.spans == ()

    play(scene, processor=found.processor)


def test_the_engine_is_told_of_the_trace() -> None:
    """While it works, `traceparent` names the span `generate`, which says where the model runs; afterwards nothing does."""
    found = Collected()
    clock = FakeClock()
    tracer = OtelTracer(found.processor, clock, {"far": "https://engine.example/v1", "near": "http://10.0.0.7:8001/v1"})
    trail = Trail("req_01k8m3v2q8e9c7x0t5w4z6y1ab", "POST", "/v1/completions", clock.monotonic)
    trail.trace = tracer.begin(trail, TRACEPARENT)
    trail.ask("near", stream=False)
    trail.hold()
    trail.generate()
    told = trace_headers.get()
    trail.settle()
    trail.trace.end(trail)
    span = found["generate"]
    assert told == {"traceparent": f"00-{TRACE}-{identity(span):016x}-01", "tracestate": "vendor=opaque"}
    assert span.kind is SpanKind.CLIENT
    assert span.attributes == {"server.address": "10.0.0.7", "server.port": 8001}
    assert tracer.upstream("far") == {"server.address": "engine.example", "server.port": 443}
    assert trace_headers.get() == {}


def test_every_route_for_tokens_has_its_operation() -> None:
    """A route without one could not be traced."""
    assert set(OPERATIONS) == {route.path for route in INFERENCE}


def test_without_an_endpoint_nothing_is_traced() -> None:
    """The tracer that does nothing needs no extra."""
    assert open_tracer(Telemetry(), FakeClock(), {}) is NO_TRACER


def test_without_the_extra_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the setting, what is missing, and how it is installed."""
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, name, None)  # not ours: as if the extra were not installed
    with pytest.raises(Refusal) as refused:
        open_tracer(Telemetry(otlp_endpoint="http://127.0.0.1:4318"), FakeClock(), {})
    assert refused.value.reason is Reason.BAD_SETTING
    assert "telemetry.otlp_endpoint" in refused.value.sentence
    assert "pip install 'millrace[telemetry]'" in refused.value.sentence


def test_spans_reach_a_collector() -> None:
    """Closing sends what is left, as OTLP over HTTP, under the service's name."""
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        clock = FakeClock()
        tracer = open_tracer(Telemetry(otlp_endpoint=f"http://127.0.0.1:{server.server_port}"), clock, {})
        trail = Trail("req_01k8m3v2q8e9c7x0t5w4z6y1ab", "POST", "/v1/embeddings", clock.monotonic)
        trail.trace = tracer.begin(trail, {})
        trail.trace.end(trail)
        tracer.close()
        server.shutdown()
        thread.join()
    ((path, body),) = received
    sent = ExportTraceServiceRequest.FromString(body)
    (resource,) = sent.resource_spans
    assert path == "/v1/traces"
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes}["service.name"] == "millrace"
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["POST /v1/embeddings"]


def test_two_requests_at_once_do_not_mix(play: Scene) -> None:
    """Each has a trace of its own, with the spans of its own stages."""
    found = Collected()

    async def scene(world: Any) -> None:
        await asyncio.gather(world.chat(stream=True), world.chat(stream=True))
        traces: dict[int, list[str]] = {}
        for span in found.spans:
            assert span.context is not None
            traces.setdefault(span.context.trace_id, []).append(span.name)
        assert [sorted(names) for names in traces.values()] == [["chat echo", "generate", "hold", "settle"]] * 2

    play(scene, processor=found.processor)
