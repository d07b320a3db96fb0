"""Prometheus metrics of one gateway, each with its help text. Tokens and times, never money: that is the ledger's."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from millrace import __version__
from millrace.base.clock import NS_PER_S
from millrace.catalog.tuned.values import PREFIX
from millrace.money.metering.usage import Status, Usage
from millrace.money.rating.book import priced_model

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1)
"""20 ms is what people read comfortably at three times their speed; above 150 ms they wait for each word."""

_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_CLASSES = ("input", "cached_input", "output", "reasoning", "waived")


class _Meters(NamedTuple):
    """Those of one model: requests by how they ended, tokens in the order of _CLASSES, the times of its streams."""

    requests: dict[Status, Counter]
    tokens: tuple[Counter, ...]
    duration: Histogram
    first_token: Histogram
    per_token: Histogram


class Metrics:
    """Counts what happens; `render` is the text of /metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of: dict[str, _Meters] = {}
        self._audit: dict[str, Gauge] = {}
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
        self._first_token = Histogram(
            "millrace_time_to_first_token_seconds",
            "Streams: from the request's head to the first bytes of its answer, by model.", ["model"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._per_token = Histogram(
            "millrace_time_per_output_token_seconds",
            "Streams: from the first bytes to the end of the work, for each output token after the first, by model.",
            ["model"], buckets=_TOKEN_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._responses = Counter(
            "millrace_refusals", "Requests refused, by reason.", ["reason"], registry=self.registry
        )
        self._holds_refused = Counter(
            "millrace_holds_refused", "Holds that the books refused, by reason: insufficient_credit, budget_exceeded …",
            ["reason"], registry=self.registry,
        )  # fmt: skip
        self._bugs = Counter(
            "millrace_internal_errors", "Errors of the server itself, requests and background work; each is in the log.",
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("millrace_requests_in_flight", "Inference requests running now.", registry=self.registry)
        self.engine_ready = Gauge(
            "millrace_engine_ready", "1 when the model's engine takes requests.", ["model"], registry=self.registry
        )
        self._worked = Gauge(
            "millrace_background_last_success_timestamp_seconds", "When background work last ended well, by job (Unix time).",
            ["job"], registry=self.registry,
        )  # fmt: skip
        self._batch = Histogram(
            "millrace_commit_batch_size", "Pieces of work that shared one commit of the database.", buckets=_BATCH_SIZES,
            registry=self.registry,
        )  # fmt: skip
        self._commit = Histogram(
            "millrace_commit_duration_seconds", "One commit of the database with the work in it, until it is on disk.",
            buckets=_COMMIT_SECONDS, registry=self.registry,
        )  # fmt: skip
        Gauge(
            "millrace_build_info", "1, with the version that runs.", ["version"], registry=self.registry
        ).labels(__version__).set(1)
        ProcessCollector(registry=self.registry)

    def settled(self, usage: Usage, now: int) -> None:
        meters = self._meters_of(series(usage))
        meters.requests[usage.status].inc()
        tokens = usage.tokens
        counts = (tokens.input, tokens.cached_input, tokens.output, tokens.reasoning, usage.waived)
        for counter, count in zip(meters.tokens, counts, strict=True):
            if count:
                counter.inc(count)
        meters.duration.observe((now - usage.started_at) / 1e9)

    def streamed(self, usage: Usage, first_token_ns: int, rest_ns: int) -> None:
        """A stream whose first bytes left so long after its request, and whose work then took so long."""
        meters = self._meters_of(series(usage))
        meters.first_token.observe(first_token_ns / NS_PER_S)
        if usage.tokens.output > 1:
            meters.per_token.observe(rest_ns / NS_PER_S / (usage.tokens.output - 1))

    def _meters_of(self, model: str) -> _Meters:
        meters = self._of.get(model)
        if meters is None:
            meters = self._of[model] = self._meters(model)
        return meters

    def _meters(self, model: str) -> _Meters:
        """Looked up once: a look-up by labels costs more than what it is looked up for."""
        return _Meters(
            requests={status: self._requests.labels(model, status) for status in Status},
            tokens=tuple(self._tokens.labels(model, name) for name in _CLASSES),
            duration=self._duration.labels(model),
            first_token=self._first_token.labels(model),
            per_token=self._per_token.labels(model),
        )

    def refused(self, reason: str) -> None:
        self._responses.labels(reason).inc()

    def hold_refused(self, reason: str) -> None:
        self._holds_refused.labels(reason).inc()

    def worked(self, job: str, now: int) -> None:
        self._worked.labels(job).set(now // NS_PER_S)

    def committed(self, pieces: int, duration_ns: int) -> None:
        """Told by the database's writer, from its own thread."""
        self._batch.observe(pieces)
        self._commit.observe(duration_ns / NS_PER_S)

    def audited(self, now: int, duration_ns: int, rows: int, failed: int) -> None:
        """The daily audit, by the server that made it; the others have no such metrics."""
        for name, help_text, value in (
            ("last_run_timestamp_seconds", "When the daily audit last ended (Unix time).", now // NS_PER_S),
            ("duration_seconds", "How long the last daily audit took.", duration_ns / NS_PER_S),
            ("rows", "Transfers and usage rows that the last daily audit read.", rows),
            ("disagreements", "Checks of the last daily audit that disagreed; each is in the log.", failed),
            ("ok", "1 when the last daily audit found everything in order.", int(failed == 0)),
        ):
            if name not in self._audit:
                self._audit[name] = Gauge(f"millrace_audit_{name}", help_text, registry=self.registry)
            self._audit[name].set(value)

    def broke(self) -> None:
        self._bugs.inc()

    def render(self) -> bytes:
        return bytes(generate_latest(self.registry))


def series(usage: Usage) -> str:
    """The label of a request's model. All that tenants tuned on one base are one, 'ft:<base>': metrics name no tenant, and do
    not grow with what tenants make."""
    base = priced_model(usage.price_id)
    return usage.model if usage.model == base else f"{PREFIX}{base}"
