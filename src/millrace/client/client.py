"""The client: chats whole and streamed, models, receipts, balance.

Theory of operation. Each chat has an Idempotency-Key, so asking again is safe whatever happened to the first try: one that was
answered and billed is answered with the same and billed once. So a try that fails in a way that may pass (refusals.py) is
repeated, a bounded number of times, after the time that the server names. A stream is repeated until its first piece; one
that breaks later is a refusal. Time-outs are the event loop's own, waits are the clock's that is passed in.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.sse import EventReader, EventTooLargeError
from millrace.client.access import Access
from millrace.client.answers import DECODE_BODY, Body, ChatAnswer, Models, chat_answer
from millrace.client.refusals import from_status, unreachable, wait_s
from millrace.wire.json_body import encode
from millrace.wire.models import ModelCard
from millrace.wire.receipts import BalanceForm, ReceiptForm

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""More than any chat; what is longer is not from this API."""

CONNECTIONS_MAX: Final = 256
"""What one key may have in flight by default."""

T = TypeVar("T")

_BROKEN: Final = (aiohttp.ClientError, TimeoutError, OSError, EventTooLargeError, msgspec.DecodeError, UnicodeDecodeError)


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds."""

    connect_s: float = 10.0
    answer_s: float = 660.0
    """For a chat: what a server gives it, ten minutes, and a minute for the queue."""
    idle_s: float = 120.0
    """Between two pieces of a stream."""
    small_s: float = 30.0
    """For everything else; a receipt waits ten seconds for its settlement."""


TIMEOUTS: Final = Timeouts()


class _Answered(NamedTuple):
    body: bytes
    headers: Mapping[str, str]
    latency_ns: int


class ChatStream:
    """The frames of one answer as they come; `request_id` is its receipt's."""

    def __init__(self, response: aiohttp.ClientResponse, where: str) -> None:
        self.request_id = response.headers.get("x-request-id", "")
        self._response = response
        self._where = where

    async def __aiter__(self) -> AsyncGenerator[Body, None]:
        """Ends at the stream's `[DONE]`. Raises the server's refusal, or ENGINE_FAILED where it breaks off."""
        reader = EventReader()
        try:
            while piece := await self._response.content.readany():
                for event in reader.feed(piece):
                    if event.data == b"[DONE]":
                        return
                    frame = DECODE_BODY(event.data)
                    if frame.error is not None:
                        raise from_status(0, event.data, None, self._where)
                    yield frame
        except _BROKEN:
            pass
        raise Refusal(Reason.ENGINE_FAILED, f"the stream of {self._where} broke off before its end")


class Client:
    """Speaks for one key to one server. Use it as a context manager inside a running event loop."""

    def __init__(self, access: Access, *, clock: Clock, timeouts: Timeouts = TIMEOUTS) -> None:
        self._access = access
        self._clock = clock
        self._ids = Ids(clock)
        self._timeouts = timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX), headers={"Authorization": f"Bearer {access.key}"},
            raise_for_status=False, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(),
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def chat(self, asked: Mapping[str, Any], *, idempotency_key: str | None = None) -> ChatAnswer:
        """Ask for a whole answer; `asked` is the body of POST /v1/chat/completions without `stream`."""
        key = idempotency_key or self._ids.new("idem")
        answered = await self._call("POST", "/chat/completions", encode(asked), {"Idempotency-Key": key})
        replayed = answered.headers.get("idempotent-replayed") == "true"
        return chat_answer(
            self._decoded(answered, Body), request_id=answered.headers.get("x-request-id", ""),
            latency_ns=None if replayed else answered.latency_ns,
        )  # fmt: skip

    @asynccontextmanager
    async def stream(
        self, asked: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> AsyncGenerator[ChatStream, None]:
        """Ask for an answer piece by piece, the usage in the last one. Left early, the rest is neither made nor charged."""
        body = encode({**asked, "stream": True, "stream_options": {"include_usage": True}})
        headers = {"Idempotency-Key": idempotency_key or self._ids.new("idem")}
        timeout = aiohttp.ClientTimeout(sock_connect=self._timeouts.connect_s, sock_read=self._timeouts.idle_s)
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._open("POST", "/chat/completions", body, headers, timeout)
                break
            except Refusal as refusal:
                await self._wait(refusal, attempt)
        try:
            yield ChatStream(response, self._access.root)
        finally:
            response.close()

    async def models(self) -> tuple[ModelCard, ...]:
        """The models on offer to this key."""
        return self._decoded(await self._call("GET", "/models"), Models).data

    async def receipt(self, request_id: str) -> ReceiptForm:
        """What a request of this tenant consumed and cost; waits for its settlement."""
        return self._decoded(await self._call("GET", f"/receipts/{request_id}"), ReceiptForm)

    async def balance(self) -> BalanceForm:
        """What the tenant has and may spend."""
        return self._decoded(await self._call("GET", "/balance"), BalanceForm)

    async def _call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> _Answered:
        seconds = self._timeouts.small_s if body is None else self._timeouts.answer_s
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=self._timeouts.connect_s)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(method, path, body, headers, timeout)
            except Refusal as refusal:
                await self._wait(refusal, attempt)

    async def _wait(self, refusal: Refusal, attempt: int) -> None:
        """Before the next try; raises the refusal where there is none."""
        seconds = wait_s(refusal, attempt)
        if seconds is None:
            raise refusal
        await self._clock.sleep(seconds)

    async def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, timeout: aiohttp.ClientTimeout
    ) -> _Answered:
        began = self._clock.monotonic()
        response = await self._open(method, path, body, headers, timeout)
        try:
            answer = await _read(response)
        except _BROKEN as error:
            raise self._broken(error) from None
        finally:
            response.close()
        return _Answered(answer, response.headers, self._clock.monotonic() - began)

    async def _open(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """An answer with status 200, its body unread; else raises what it is."""
        sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        try:
            response = await self._session.request(
                method, f"{self._access.root}/v1{path}", data=body, headers=sent, timeout=timeout, allow_redirects=False
            )
            if response.status == 200:
                return response
            async with response:
                said = await _read(response)
        except _BROKEN as error:
            raise self._broken(error) from None
        raise from_status(response.status, said, response.headers.get("Retry-After"), self._access.root)

    def _broken(self, error: Exception) -> Refusal:
        """The error itself may quote what was sent, so its kind alone is told."""
        if isinstance(error, TimeoutError):
            return unreachable(self._access.root, "does not answer in time")
        if isinstance(error, aiohttp.ClientConnectorError):
            return unreachable(self._access.root, "cannot be reached")
        return unreachable(self._access.root, "broke the connection off")

    def _decoded(self, answered: _Answered, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answered.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refusal(
                Reason.INTERNAL_ERROR, f"{self._access.root} answers in no form of this API; see that the address is a Millrace"
            ) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return b"".join(pieces)
