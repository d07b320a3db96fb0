"""The ASGI application: which handler answers which path, who may call it, and what becomes of errors.

The inference routes are plain ASGI; every path that is not the API's goes to the pages application.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.engines.protocol import Engine, EngineState
from millrace.gateway.exchange import App, ClientGone, Exchange, Message, Receive, Scope, Send
from millrace.gateway.hub import PREFIX as HUB_PREFIX
from millrace.gateway.inference import Inference, internal_error
from millrace.gateway.metrics import Metrics
from millrace.gateway.observer import Observer
from millrace.gateway.reads import Reads
from millrace.gateway.routes import TUNING_ROUTES, Tuning
from millrace.gateway.routes import Route as Route
from millrace.gateway.trail import Trail
from millrace.tenants.authenticate import Directory
from millrace.tenants.values import Caller
from millrace.tenants.values import Scope as KeyScope
from millrace.wire.frames import render_error_frame
from millrace.wire.json_body import encode

_log = logging.getLogger("millrace.gateway")

Handler = Callable[[Exchange, Caller], Awaitable[None]]
OpenHandler = Callable[[Exchange], Awaitable[None]]


CHAT: Final = Route("POST", "/v1/chat/completions", "Answer a chat, whole or as a stream.")
COMPLETIONS: Final = Route("POST", "/v1/completions", "Continue a text, whole or as a stream.")
EMBEDDINGS: Final = Route("POST", "/v1/embeddings", "Turn texts into vectors.")
MODELS: Final = Route("GET", "/v1/models", "The models on offer, with lengths and prices.")
MODEL: Final = Route("GET", "/v1/models/", "One model by its name.")
DELETE_MODEL: Final = Route("DELETE", "/v1/models/", "End the offer of a model that the tenant tuned.")
RECEIPT: Final = Route("GET", "/v1/receipts/", "What one request consumed and cost, by its x-request-id.")
BALANCE: Final = Route("GET", "/v1/balance", "What the tenant has, what is held, what is available.")
USAGE: Final = Route("GET", "/v1/usage", "Usage by model, day or key: ?from=2026-11-01&to=2026-12-01&by=day.")
HEALTH: Final = Route("GET", "/healthz", "200 while the process is alive.")
READY: Final = Route("GET", "/readyz", "200 when every model is ready, else 503 and which is not.")
METRICS: Final = Route("GET", "/metrics", "Prometheus metrics.")

ROUTES: Final = (
    CHAT, COMPLETIONS, EMBEDDINGS, MODELS, MODEL, DELETE_MODEL, *TUNING_ROUTES, RECEIPT, BALANCE, USAGE, HEALTH, READY, METRICS,
)  # fmt: skip
INFERENCE: Final = (CHAT, COMPLETIONS, EMBEDDINGS)


Whole = Callable[[bytes], Awaitable[bytes]]
"""Makes of one process's metrics those of the whole server."""


Hub = Callable[[Exchange, str], Awaitable[None]]
"""Answers below /hub; told the secret of the Authorization header, empty where there is none."""


async def alone(own: bytes) -> bytes:
    """The server is one process."""
    return own


class Gateway:
    """The application that the HTTP server runs."""

    def __init__(
        self,
        *,
        directory: Directory,
        inference: Inference,
        reads: Reads,
        engines: Mapping[str, Engine],
        metrics: Metrics,
        observer: Observer,
        ids: Ids,
        pages: App,
        whole: Whole = alone,
        hub: Hub | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self._directory = directory
        self._inference = inference
        self._engines = engines
        self._metrics = metrics
        self._observer = observer
        self._ids = ids
        self._pages = pages
        self._whole = whole
        self._hub = hub
        self._tuning = tuning
        self._open: dict[str, tuple[Route, OpenHandler]] = {
            HEALTH.path: (HEALTH, self._health),
            READY.path: (READY, self._ready),
            METRICS.path: (METRICS, self._render_metrics),
        }
        self._exact: dict[str, tuple[Route, Handler]] = {
            CHAT.path: (CHAT, inference.chat),
            COMPLETIONS.path: (COMPLETIONS, inference.completion),
            EMBEDDINGS.path: (EMBEDDINGS, inference.embeddings),
            MODELS.path: (MODELS, reads.models),
            BALANCE.path: (BALANCE, reads.balance),
            USAGE.path: (USAGE, reads.usage),
        }
        self._prefixes: tuple[tuple[Route, Handler], ...] = (
            (MODEL, reads.model), (DELETE_MODEL, reads.delete_model), (RECEIPT, reads.receipt),
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trail = self._observer.begin(self._ids.new("req"), scope["method"], scope["path"])
        exchange = Exchange(scope, receive, send, trail)
        try:
            await self._route(exchange, scope, receive, send)
        except Refusal as refusal:
            self._observer.refused(trail, refusal)
            await _refuse(exchange, refusal)
        except ClientGone:
            self._observer.left(trail)
        except Exception:  # noqa: BLE001 - the outermost loop: logged, counted, answered
            _log.exception("request %s broke: %s %s", exchange.request_id, exchange.method, exchange.path)
            error = internal_error()
            self._observer.broke(trail, error)
            await _refuse(exchange, error)
        finally:
            self._observer.end(trail)

    async def _route(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        open_ = self._open.get(exchange.path)
        if open_ is not None:
            _require_method(exchange, open_[0])
            await open_[1](exchange)
            return
        if self._hub is not None and exchange.path.startswith(HUB_PREFIX):
            await self._hub(exchange, _bearer(exchange))
            return
        if not exchange.path.startswith("/v1/"):
            await self._pages(scope, receive, _noting(send, exchange.trail))
            return
        route, handler = self._find(exchange)
        _require_method(exchange, route)
        inference = route in INFERENCE
        if inference:
            self._observer.inference(exchange)
        caller = exchange.trail.caller = await self._directory.caller(_bearer(exchange))
        if inference:
            caller.require(KeyScope.INFERENCE)
        await handler(exchange, caller)

    def _find(self, exchange: Exchange) -> tuple[Route, Handler]:
        found = self._exact.get(exchange.path)
        if found is None and self._tuning is not None:
            found = self._tuning.find(exchange)
        if found is not None:
            return found
        matching = [
            one for one in self._prefixes if exchange.path.startswith(one[0].path) and exchange.path != one[0].path
        ]
        if matching:
            return next((one for one in matching if one[0].method == exchange.method), matching[0])
        raise Refusal(
            Reason.NOT_FOUND, f"there is no {exchange.path[:200]} here; see /docs for the routes of this API"
        )

    async def _health(self, exchange: Exchange) -> None:
        await exchange.answer(b'{"status":"ok"}')

    async def _ready(self, exchange: Exchange) -> None:
        states = {name: engine.state.value for name, engine in self._engines.items()}
        ready = not self._inference.draining and all(state == EngineState.READY for state in states.values())
        body = encode({"status": "ready" if ready else "not ready", "models": states})
        await exchange.answer(body, status=200 if ready else 503)

    def metrics_text(self) -> bytes:
        """The metrics of this process."""
        self._metrics.in_flight.set(len(self._inference.running))
        for name, engine in self._engines.items():
            self._metrics.engine_ready.labels(name).set(engine.state is EngineState.READY)
        return self._metrics.render()

    async def _render_metrics(self, exchange: Exchange) -> None:
        text = await self._whole(self.metrics_text())
        await exchange.answer(text, fields=[(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])


def _noting(send: Send, trail: Trail) -> Send:
    """For the pages, which answer without an exchange."""

    async def noting(message: Message) -> None:
        await send(message)
        if message["type"] == "http.response.start":
            trail.status = message["status"]
        elif message["type"] == "http.response.body":
            trail.write(message.get("body", b""))

    return noting


def _bearer(exchange: Exchange) -> str:
    """The secret of the Authorization header; an empty one is answered like a wrong one."""
    header = exchange.header(b"authorization") or b""
    scheme, _, secret = header.decode("latin-1").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _require_method(exchange: Exchange, route: Route) -> None:
    if exchange.method != route.method and (exchange.method, route.method) != ("HEAD", "GET"):
        raise Refusal(Reason.METHOD_NOT_ALLOWED, f"{route.path} takes {route.method}, not {exchange.method}")


async def _refuse(exchange: Exchange, refusal: Refusal) -> None:
    if exchange.started:
        await exchange.finish(render_error_frame(refusal))
    else:
        await exchange.refuse(refusal)
