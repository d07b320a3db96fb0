"""A bare pass-through of our own stack, the yardstick for what the books and the rest of the gateway cost.

    python -m bench.passthrough --port 9100 --key mr_… --model instant=http://127.0.0.1:9000/v1

Raw ASGI on uvicorn with uvloop and httptools. It checks a key, decodes the body with msgspec as far as the model's name,
sends the same bytes to the upstream with aiohttp and forwards what comes as it comes. Not covered, on purpose: limits,
metering, money, counting, refusals by name, time-outs, and what becomes of a client that leaves.
"""

import argparse
import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import aiohttp
import msgspec
import uvicorn
from msgspec import Struct

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECTIONS_MAX: Final = 1024


class _Asked(Struct):
    """What has to be known of a body to pass it on."""

    model: str
    stream: bool = False


_decode = msgspec.json.Decoder(_Asked).decode


class PassThrough:
    """The application."""

    def __init__(self, key: str, upstreams: dict[str, str]) -> None:
        self._key = hashlib.sha256(key.encode()).digest()
        self._upstreams = upstreams
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == "/healthz":
            await _answer(send, 200, b"{}")
        elif not self._may_enter(scope["headers"]):
            await _answer(send, 401, b'{"error":{"message":"no such key"}}')
        else:
            await self._forward(scope["path"], await _body(receive), send)

    def _may_enter(self, headers: list[tuple[bytes, bytes]]) -> bool:
        for name, value in headers:
            if name == b"authorization":
                return hashlib.sha256(value.removeprefix(b"Bearer ")).digest() == self._key
        return False

    async def _forward(self, path: str, body: bytes, send: Send) -> None:
        url = self._upstreams[_decode(body).model] + path.removeprefix("/v1")
        async with self._opened().post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            content_type = response.headers["content-type"].encode()
            headers = [(b"content-type", content_type)]
            if response.content_length is not None:
                headers.append((b"content-length", b"%d" % response.content_length))
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            while piece := await response.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=4.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=300.0),
            )
        return self._session


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.passthrough", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True, help="the one key that is let in")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=URL", help="a model and the base URL it is at")
    given = parser.parse_args()
    upstreams = dict(one.split("=", 1) for one in given.model)
    uvicorn.run(
        PassThrough(given.key, upstreams), host="127.0.0.1", port=given.port, loop="uvloop", http="httptools", ws="none",
        lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
