"""One request and its answer over ASGI: a body that is bounded in size and time, an answer that knows what has left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from millrace.base.errors import Reason, Refusal
from millrace.gateway.connection import EXTENSION, Connection
from millrace.gateway.refusals import STATUS, Headers, headers
from millrace.gateway.trail import Trail
from millrace.settings.limits import Limits
from millrace.wire.errors import render_error

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON: Headers = [(b"content-type", b"application/json")]
SSE: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Exchange:
    """For one task. Once `started` a refusal cannot change the status any more; once `ended` nothing is sent any more."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, trail: Trail) -> None:
        self.trail = trail
        self.request_id = trail.request_id
        self.method = trail.method
        self.path = trail.path
        self.started = False
        self.ended = False
        self.connection: Connection = scope["extensions"][EXTENSION]
        self._scope = scope
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        for key, value in self._scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    def query(self, known: frozenset[str]) -> dict[str, str]:
        """The query's parameters; a name that is not known is refused, never ignored."""
        found = dict(parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True))
        for name in found:
            if name not in known:
                there_is = ", ".join(sorted(known)) or "none"
                raise Refusal(Reason.UNSUPPORTED_PARAMETER, f"{name}: unknown parameter; there is {there_is}", param=name)
        return found

    async def body(self, limits: Limits) -> bytes:
        """The whole body. Raises REQUEST_TOO_LARGE as soon as that is known, REQUEST_TIMEOUT when it does not come."""
        declared = self.header(b"content-length")
        if declared is not None and int(declared) > limits.body_bytes_max:
            raise _too_large(limits)
        body = await self._read(limits) if self.connection.whole else await self._read_in_time(limits)
        if self.trail.texts is not None:
            self.trail.texts.ask(body)
        return body

    async def pieces(self, most: int, timeout_s: float) -> AsyncIterator[bytes]:
        """The body as it comes. Raises REQUEST_TOO_LARGE over `most` bytes, REQUEST_TIMEOUT where a piece does not come."""
        taken = 0
        more = True
        while more:
            try:
                async with asyncio.timeout(timeout_s):
                    message = await self._receive()
            except TimeoutError:
                raise Refusal(Reason.REQUEST_TIMEOUT, f"nothing of the body came within {timeout_s:g} seconds") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            taken += len(message["body"])
            if taken > most:
                raise Refusal(Reason.REQUEST_TOO_LARGE, f"the body is larger than {most} bytes; send it in parts")
            yield message["body"]
            more = message.get("more_body", False)

    async def start(self, status: int, fields: Headers) -> None:
        """The status line and headers; they leave with the first piece of the body."""
        self.started = True
        self.trail.status = status
        if self.method != "HEAD":
            self.connection.keep_head()
        fields = [*fields, (b"x-request-id", self.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def write(self, data: bytes, *, more: bool = True) -> bool:
        """Send a piece; True when the kernel has all of it, False when the client was or is gone."""
        if self.ended or not self.connection.open:
            return False
        self.ended = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        if not await self.connection.flushed():
            return False
        self.trail.write(data)
        return True

    async def finish(self, data: bytes = b"") -> bool:
        """Send the last piece; True when the kernel has all of it."""
        return await self.write(data, more=False)

    async def answer(self, body: bytes, *, status: int = 200, fields: Headers = JSON) -> bool:
        """The whole answer at once; True when the kernel has all of it."""
        await self.start(status, [*fields, (b"content-length", b"%d" % len(body))])
        return await self.finish(body)

    async def refuse(self, refusal: Refusal) -> None:
        """The answer to a request that gets none: status, envelope, `retry-after`."""
        await self.answer(render_error(refusal), status=STATUS[refusal.reason], fields=headers(refusal))

    async def _read_in_time(self, limits: Limits) -> bytes:
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                return await self._read(limits)
        except TimeoutError:
            raise Refusal(
                Reason.REQUEST_TIMEOUT, f"the body did not come within {limits.body_timeout_s:g} seconds"
            ) from None

    async def _read(self, limits: Limits) -> bytes:
        body = b""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message["body"]
            if len(body) > limits.body_bytes_max:
                raise _too_large(limits)
            more = message.get("more_body", False)
        return body


class ClientGone(Exception):
    """The client went before its request was whole: there is nobody to answer."""


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        Reason.REQUEST_TOO_LARGE,
        f"the body is larger than {limits.body_bytes_max} bytes; send less, or ask the operator to raise limits.body_bytes_max",
    )
