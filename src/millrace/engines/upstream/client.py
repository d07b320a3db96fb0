"""The HTTP shell to an OpenAI-compatible server: one pooled session, named time-outs, frames in batches.

Theory of operation. `open` posts and gives a FrameStream, or raises the Refusal that the answer's status means. Each
`read` waits for one piece of the body and returns all frames that it completes, so a burst costs one await. Leaving the
stream before its end closes the connection at once, which is how every engine here learns that its work is not wanted
any more. Time-outs are the event loop's own, not the house's clock: what is bounded here is a real network.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

from millrace.base.errors import Refusal
from millrace.base.sse import EventReader, EventTooLargeError
from millrace.base.trace_context import trace_headers
from millrace.engines.protocol import broke
from millrace.engines.upstream.frames import Frame, decode_frame
from millrace.engines.upstream.refusals import from_status, unavailable

KEEP_ALIVE_S: Final = 4.0
"""uvicorn, which most engines run on, closes an idle connection after 5 s; ours must be given up before that."""

ERROR_BYTES_MAX: Final = 64 << 10
DRAIN_S: Final = 0.1
"""How long the end of a body may take after its `[DONE]`; then the connection is closed instead of kept."""

_DONE: Final = b"[DONE]"
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError, EventTooLargeError, msgspec.DecodeError)


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds. There is none for a whole answer: a long answer that keeps coming is a good one."""

    connect_s: float = 5.0
    first_byte_s: float = 300.0
    """Until the first piece of the body: a long prompt on a busy engine, queue included."""
    idle_s: float = 60.0
    """Between two pieces of a stream."""
    small_s: float = 10.0
    """For the small calls: health, tokenization."""


class Upstream(Struct, frozen=True, kw_only=True):
    """A server: where it is, and how to speak to it. Its repr shows no key."""

    model: str
    url: str
    """Base URL without a slash at its end; what is asked for is appended."""
    api_key: str | None = None
    timeouts: Timeouts = Timeouts()
    answer_bytes_max: int = 64 << 20
    """An answer in one piece that is longer is given up: embeddings of a large batch have some 20 MB."""

    def __repr__(self) -> str:
        return f"Upstream(model={self.model!r}, url={self.url!r})"


class FrameStream:
    """The frames of one streamed answer."""

    def __init__(self, response: aiohttp.ClientResponse, upstream: Upstream) -> None:
        self._response = response
        self._upstream = upstream
        self._reader = EventReader()
        self._begun = False
        self._done = False

    async def read(self) -> list[Frame] | None:
        """The next frames, at least one; None when the answer is over. Raises ENGINE_FAILED where it breaks off."""
        frames: list[Frame] = []
        while not frames:
            if self._done:
                await self._drain()
                return None
            try:
                piece = await self._response.content.readany()
                if not piece:
                    return None
                frames = self._decode(piece)
            except _BROKEN:
                raise broke(self._upstream.model) from None
            if not self._begun:
                self._begun = True
                self._bound_idle()
        return frames

    def _decode(self, piece: bytes) -> list[Frame]:
        frames = []
        for event in self._reader.feed(piece):
            if event.data == _DONE:
                self._done = True
                break
            frame = decode_frame(event.data)
            if frame.error is not None:
                raise broke(self._upstream.model)
            frames.append(frame)
        return frames

    def _bound_idle(self) -> None:
        """From here on the time between two pieces is bounded, no longer the time to the first."""
        connection = self._response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = self._upstream.timeouts.idle_s

    async def _drain(self) -> None:
        """Read to the end of the body, so that the connection can serve again."""
        try:
            async with asyncio.timeout(DRAIN_S):
                while await self._response.content.readany():
                    pass
        except _BROKEN:
            self._response.close()


class Client:
    """Speaks to one upstream. Make it inside a running event loop; `close` leaves no socket behind."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        connections_max: int,
        keep_alive: bool = True,
        on_unreachable: Callable[[], None] = lambda: None,
    ) -> None:
        self.upstream = upstream
        self._on_unreachable = on_unreachable
        times = upstream.timeouts
        self._session = aiohttp.ClientSession(
            connector=_connector(connections_max, keep_alive),
            headers={"Authorization": f"Bearer {upstream.api_key}"} if upstream.api_key else None,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=times.first_byte_s, sock_connect=times.connect_s, sock_read=times.first_byte_s
            ),
            raise_for_status=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, path: str, body: bytes, request_id: str) -> AsyncGenerator[FrameStream, None]:
        """The stream that answers `body`; left early, it is cut. Raises what a status other than 200 means."""
        response = await self._post(path, body, request_id)
        try:
            yield FrameStream(response, self.upstream)
        finally:
            _leave(response)

    async def post(self, path: str, body: bytes, request_id: str = "") -> bytes:
        """The whole answer to `body`."""
        response = await self._post(path, body, request_id)
        try:
            return await _read_bounded(response, self.upstream.answer_bytes_max)
        except _BROKEN:
            raise broke(self.upstream.model) from None
        finally:
            _leave(response)

    async def get(self, path: str) -> bytes:
        """A small answer: health, what is on offer."""
        try:
            async with (
                asyncio.timeout(self.upstream.timeouts.small_s),
                self._session.get(self.upstream.url + path, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise await self._refusal(response)
                return await _read_bounded(response, self.upstream.answer_bytes_max)
        except _BROKEN as error:
            raise self._unreachable(error) from None

    async def _post(self, path: str, body: bytes, request_id: str) -> aiohttp.ClientResponse:
        """A kept connection that the server closed meanwhile is no fault of its: such a call is sent once more."""
        try:
            response = await self._send(path, body, request_id)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise self._unreachable(error) from None
            try:
                response = await self._send(path, body, request_id)
            except _BROKEN as again:
                raise self._unreachable(again) from None
        except _BROKEN as error:
            raise self._unreachable(error) from None
        if response.status == 200:
            return response
        async with response:
            raise await self._refusal(response)

    async def _send(self, path: str, body: bytes, request_id: str) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id, **trace_headers.get()}
        return await self._session.post(self.upstream.url + path, data=body, headers=headers, allow_redirects=False)

    async def _refusal(self, response: aiohttp.ClientResponse) -> Refusal:
        body = await _read_bounded(response, ERROR_BYTES_MAX, cut=True)
        retry_after = response.headers.get("Retry-After")
        return from_status(self.upstream.model, response.status, body, retry_after, self.upstream.api_key)

    def _unreachable(self, error: Exception) -> Refusal:
        """The error itself names hosts and ports, so the caller is told its kind only."""
        self._on_unreachable()
        if isinstance(error, TimeoutError):
            return unavailable(self.upstream.model, "does not answer in time")
        return unavailable(self.upstream.model, "cannot be reached")


def _connector(connections_max: int, keep_alive: bool) -> aiohttp.TCPConnector:
    if keep_alive:
        return aiohttp.TCPConnector(limit=connections_max, keepalive_timeout=KEEP_ALIVE_S)
    return aiohttp.TCPConnector(limit=connections_max, force_close=True)


def _leave(response: aiohttp.ClientResponse) -> None:
    """Back into the pool where the body was read to its end, else closed, so that the server stops its work."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()


async def _read_bounded(response: aiohttp.ClientResponse, bytes_max: int, *, cut: bool = False) -> bytes:
    """The body, at most `bytes_max` of it. A longer one is cut or, without `cut`, counts as broken."""
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > bytes_max:
            if cut:
                break
            raise aiohttp.ClientPayloadError(f"an answer of more than {bytes_max} bytes")
    return b"".join(pieces)[:bytes_max]
