"""A fake upstream: the fake model behind the OpenAI API, on real sockets, for benches, scenarios and remote engines.

    python -m millrace.engines.fake.server --port 9000 --tokens 64 --token-delay-ms 20

It serves /v1/models, /health, /v1/chat/completions, /v1/completions and /v1/embeddings, and GET /stats says what it
really made. It is one asyncio.Protocol over httptools, fast enough that a bench measures the gateway before it.
Delays are the event loop's own. Not covered: TLS, pipelined requests, bodies without Content-Length, answers as base64.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop
from msgspec import Struct

from millrace.engines.fake.answers import Answer, Behaviour, Burst, answer
from millrace.engines.fake.script import FakeScript

REMEMBERED: Final = 65_536
BODY_BYTES_MAX: Final = 64 << 20

_STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_PHRASE: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class Stats(Struct):
    """What was really made. `generated` holds the output tokens of the newest requests by their X-Request-Id."""

    requests: int = 0
    tokens: int = 0
    cancelled: int = 0
    """Streams whose client left before their end."""
    live: int = 0
    generated: dict[str, int] = {}

    def made(self, request_id: str, tokens: int) -> None:
        self.tokens += tokens
        if request_id:
            self.generated[request_id] = self.generated.get(request_id, 0) + tokens
            if len(self.generated) > REMEMBERED:
                del self.generated[next(iter(self.generated))]


class FakeUpstream:
    """The server. Assign another `behaviour` at any time; `stats` is the truth."""

    def __init__(self, behaviour: Behaviour = Behaviour()) -> None:  # noqa: B008  frozen
        self.behaviour = behaviour
        self.stats = Stats()
        self.last_body = b""
        """The body of the latest request for tokens."""
        self.last_headers: dict[bytes, bytes] = {}
        """Its headers, by their lower-case names."""
        self._server: asyncio.Server | None = None
        self.connections: set[Connection] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and say the base URL."""
        self._server = await asyncio.get_running_loop().create_server(lambda: Connection(self), host, port)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/v1"

    async def close(self) -> None:
        """Stop listening and break every connection, as a killed server does."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self.connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None


class Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = ""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._rest: Iterator[Burst] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._request_id = ""
        self._ending = "done"

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass
        self._upstream.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._upstream.connections.discard(self)
        if self._rest is not None:
            self._upstream.stats.cancelled += 1
            self._end_stream()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    # httptools

    def on_message_begin(self) -> None:
        self._path = ""
        self._headers = {}
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = urlsplit(self._path).path
        if self._parser.get_method() == b"GET":
            self._get(path)
        else:
            self._post(path, b"".join(self._body))

    def _get(self, path: str) -> None:
        model = self._upstream.behaviour.model
        if path == "/stats":
            self._send(200, msgspec.json.encode(self._upstream.stats))
        elif not self._may_enter():
            self._send(401, b'{"error":{"message":"no such key"}}')
        elif path in {"/health", "/v1/models"}:
            self._send(200, msgspec.json.encode({"object": "list", "data": [{"id": model, "object": "model"}]}))
        else:
            self._send(404, b'{"error":{"message":"no such path"}}')

    def _post(self, path: str, body: bytes) -> None:
        upstream, behaviour = self._upstream, self._upstream.behaviour
        upstream.stats.requests += 1
        upstream.last_body = body
        upstream.last_headers = self._headers
        if not self._may_enter():
            self._send(401, b'{"error":{"message":"no such key"}}')
        elif behaviour.status != 200:
            self._send(behaviour.status, msgspec.json.encode({"error": {"message": behaviour.error}}))
        elif path not in {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}:
            self._send(404, b'{"error":{"message":"no such path"}}')
        else:
            self._request_id = self._headers.get(b"x-request-id", b"").decode("latin-1")
            self._answer(answer(path, body, behaviour))

    def _may_enter(self) -> bool:
        key = self._upstream.behaviour.api_key
        return key is None or self._headers.get(b"authorization") == f"Bearer {key}".encode()

    def _answer(self, found: Answer) -> None:
        if not found.bursts:
            self._upstream.stats.made(self._request_id, found.tokens)
            self._send(found.status, found.body)
            return
        script = self._upstream.behaviour.script
        assert self._transport is not None
        self._ending = found.ending
        self._rest = iter(found.bursts)
        self._upstream.stats.live += 1
        if script.token_delay_s or script.first_token_delay_s:
            self._transport.write(_STREAM_HEAD)
            delay = script.first_token_delay_s + script.token_delay_s
            self._timer = asyncio.get_running_loop().call_later(delay, self._next_burst, script.token_delay_s)
        else:
            self._upstream.stats.made(self._request_id, sum(burst.tokens for burst in found.bursts))
            self._transport.write(_STREAM_HEAD + _http_chunk(b"".join(burst.body for burst in found.bursts)))
            self._finish_stream()

    def _next_burst(self, delay_s: float) -> None:
        assert self._rest is not None
        assert self._transport is not None
        burst = next(self._rest, None)
        if burst is None:
            self._finish_stream()
            return
        self._upstream.stats.made(self._request_id, burst.tokens)
        self._transport.write(_http_chunk(burst.body))
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._next_burst, delay_s)

    def _finish_stream(self) -> None:
        assert self._transport is not None
        if self._ending == "hang":
            return
        self._end_stream()
        if self._ending == "cut":
            self._transport.close()
        else:
            self._transport.write(b"0\r\n\r\n")

    def _end_stream(self) -> None:
        self._rest = None
        self._upstream.stats.live -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self, status: int, body: bytes) -> None:
        assert self._transport is not None
        retry_after = self._upstream.behaviour.retry_after_s
        more = "" if retry_after is None or status < 400 else f"retry-after: {retry_after}\r\n"
        head = f"HTTP/1.1 {status} {_PHRASE.get(status, '')}\r\ncontent-type: application/json\r\n{more}"
        self._transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


def _http_chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def parse_arguments(arguments: list[str]) -> tuple[str, int, Behaviour]:
    parser = argparse.ArgumentParser(prog="python -m millrace.engines.fake.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the address is printed")
    parser.add_argument("--model", default="fake")
    parser.add_argument("--api-key")
    parser.add_argument("--tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--reasoning-tokens", type=int, default=0)
    parser.add_argument("--token-delay-ms", type=float, default=0.0)
    parser.add_argument("--first-token-delay-ms", type=float, default=0.0)
    parser.add_argument("--burst", type=int, default=1, help="tokens that arrive together")
    parser.add_argument("--usage", choices=["continuous", "final", "none"], default="continuous")
    parser.add_argument("--cut-after-tokens", type=int, help="break the connection there")
    parser.add_argument("--hang-after-tokens", type=int, help="go silent there")
    parser.add_argument("--status", type=int, default=200, help="answer every request for tokens with this status")
    given = parser.parse_args(arguments)
    script = FakeScript(
        tokens=given.tokens,
        reasoning_tokens=given.reasoning_tokens,
        token_delay_s=given.token_delay_ms / 1000,
        first_token_delay_s=given.first_token_delay_ms / 1000,
        burst=given.burst,
        fail_after_tokens=given.cut_after_tokens,
        hang_after_tokens=given.hang_after_tokens,
    )
    behaviour = Behaviour(script=script, usage=given.usage, status=given.status, model=given.model, api_key=given.api_key)
    return given.host, given.port, behaviour


async def serve(host: str, port: int, behaviour: Behaviour) -> None:
    """Serve until cancelled."""
    upstream = FakeUpstream(behaviour)
    sys.stdout.write(f"{await upstream.start(host, port)}\n")
    sys.stdout.flush()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await upstream.close()


if __name__ == "__main__":
    try:
        uvloop.run(serve(*parse_arguments(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
