"""Prometheus metrics of one gateway, each with its help text. Tokens and times, never money: that is the ledger's."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from millrace.money.metering.usage import Status, Usage

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


_CLASSES = ("input", "cached_input", "output", "reasoning", "waived")


class _Meters(NamedTuple):
    """Those of one model: requests by how they ended, tokens in the order of _CLASSES."""

    requests: dict[Status, Counter]
    tokens: tuple[Counter, ...]
    duration: Histogram


class Metrics:
    """Counts what happens; `render` is the text of /metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of: dict[str, _Meters] = {}
        self._requests = Counter(
            "millrace_requests", "Inference requests settled, by model and how they ended.", ["model", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter(
            "millrace_tokens", "Tokens settled, by model and class (cached_input is part of input, reasoning of output).",
            ["model", "class"], registry=self.registry,
        )  # fmt: skip
        self._duration = Histogram(
            "millrace_request_duration_seconds", "From hold to settlement, by model.", ["model"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._responses = Counter(
            "millrace_refusals", "Requests refused, by reason.", ["reason"], registry=self.registry
        )
        self._bugs = Counter(
            "millrace_internal_errors", "Errors of the server itself, requests and background work; each is in the log.",
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("millrace_requests_in_flight", "Inference requests running now.", registry=self.registry)
        self.engine_ready = Gauge(
            "millrace_engine_ready", "1 when the model's engine takes requests.", ["model"], registry=self.registry
        )

    def settled(self, usage: Usage, now: int) -> None:
        meters = self._of.get(usage.model)
        if meters is None:
            meters = self._of[usage.model] = self._meters(usage.model)
        meters.requests[usage.status].inc()
        tokens = usage.tokens
        counts = (tokens.input, tokens.cached_input, tokens.output, tokens.reasoning, usage.waived)
        for counter, count in zip(meters.tokens, counts, strict=True):
            if count:
                counter.inc(count)
        meters.duration.observe((now - usage.started_at) / 1e9)

    def _meters(self, model: str) -> _Meters:
        """Looked up once: a look-up by labels costs more than what it is looked up for."""
        return _Meters(
            requests={status: self._requests.labels(model, status) for status in Status},
            tokens=tuple(self._tokens.labels(model, name) for name in _CLASSES),
            duration=self._duration.labels(model),
        )

    def refused(self, reason: str) -> None:
        self._responses.labels(reason).inc()

    def broke(self) -> None:
        self._bugs.inc()

    def render(self) -> bytes:
        return bytes(generate_latest(self.registry))
