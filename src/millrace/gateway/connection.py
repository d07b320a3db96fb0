"""The HTTP server's side of one connection: uvicorn's protocol with bounds of ours, and what the gateway must know of it.

Two things that ASGI does not tell decide about money: when the client is gone, and when bytes have left this process. The
transport's write buffer is given a high-water mark of 0, so 'not paused' means that the kernel has taken every byte: from
then on not even `kill -9` takes them back, and what they carry may be billed. With that mark each write is a system call at
once, so the head of an answer waits for the first piece of its body, and both are one.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from millrace.base.errors import Reason, Refusal
from millrace.gateway.refusals import STATUS, headers
from millrace.settings.limits import Limits
from millrace.wire.errors import render_error

EXTENSION: Final = "millrace.connection"
"""The key of `scope["extensions"]` under which a request finds its `Connection`."""


class Connection:
    """What a request may know of its connection, and ask of it."""

    def __init__(self, closing: Callable[[], bool], keep_head: Callable[[], None] = lambda: None) -> None:
        self._closing = closing
        self.keep_head = keep_head
        """The bytes that are written next wait for those that are written after them."""
        self.whole = False
        """Whether every request that began to come has come to its end: then no body has to be waited for."""
        self._listener: Callable[[], None] | None = None
        self._pending = False
        self._decided = asyncio.Event()
        self.lost = False

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` when the client goes; at once when it has gone. None: nobody listens any more."""
        self._listener = listener
        if self.lost and listener is not None:
            listener()

    @property
    def open(self) -> bool:
        """Whether bytes that are written now go anywhere: a transport that is closing drops them without a word."""
        return not self.lost and not self._closing()

    async def flushed(self) -> bool:
        """Wait until the kernel has every byte that was written; False when the client went before it had."""
        if self._pending and not self.lost:
            await self._decided.wait()
        return not self._pending

    def pause(self) -> None:
        """The kernel did not take all of what was written."""
        self._pending = True
        self._decided.clear()

    def resume(self) -> None:
        """Now it has."""
        self._pending = False
        self._decided.set()

    def lose(self) -> None:
        """The client is gone; what the kernel has not taken by now it never will."""
        self.lost = True
        self._decided.set()
        if self._listener is not None:
            self._listener()


class Tell(NamedTuple):
    """Who is told what a connection is refused before it is a request."""

    refused: Callable[[Refusal], None]


class OneWrite:
    """A transport for uvicorn to write to, which can keep bytes back until the next ones."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._kept = b""
        self.is_closing = transport.is_closing
        self.close = transport.close
        self.write: Callable[[bytes], None] = transport.write

    def keep_next(self) -> None:
        """Keep what is written next. It must be followed by more: what is still kept at the end is never sent."""
        self.write = self._keep

    def _keep(self, data: bytes) -> None:
        self._kept = data
        self.write = self._join

    def _join(self, data: bytes) -> None:
        self.write = self._transport.write
        self.write(self._kept + data)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with bounds: header bytes and time, number of connections. Refuses in the API's own form."""

    limits: ClassVar[Limits]
    tell: ClassVar[Tell]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._refusal: Refusal | None = None
        self._connection = Connection(self._is_closing)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        one_write = OneWrite(transport)
        self.transport = one_write  # type: ignore[assignment]  # all that uvicorn calls once the connection is made
        self._connection.keep_head = one_write.keep_next
        self._start_header_timer()
        if len(self.connections) > self.limits.connections_max:
            self._refuse(
                Refusal(
                    Reason.RATE_LIMIT_EXCEEDED,
                    f"this server takes {self.limits.connections_max} connections at once; close one or come back",
                    retry_after_s=1,
                    limit="connections",
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        super().connection_lost(exc)
        self._connection.lose()

    def data_received(self, data: bytes) -> None:
        """A head that came whole, as nearly all do, needs no timer; what is no head yet, such as a line break, does."""
        super().data_received(data)
        waiting = self._in_head or self.cycle is None or self.cycle.response_complete
        timed = self._header_timer is not None or self.timeout_keep_alive_task is not None
        if waiting and not timed and not self.transport.is_closing():
            self._start_header_timer()

    def pause_writing(self) -> None:
        self._connection.pause()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume()
        super().resume_writing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        self._in_head = True
        self._connection.whole = False
        self._stop_header_timer()
        self.scope["extensions"] = {EXTENSION: self._connection}  # type: ignore[dict-item]

    def on_url(self, url: bytes) -> None:
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_header_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._connection.whole = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or Refusal(Reason.INVALID_HTTP, f"{msg} Send HTTP/1.1 as RFC 9112 has it."))

    def _is_closing(self) -> bool:
        return self.transport.is_closing()

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self.limits.header_bytes_max:
            self._refusal = Refusal(
                Reason.HEADERS_TOO_LARGE, f"the request's head is larger than {self.limits.header_bytes_max} bytes"
            )
            raise ValueError(self._refusal.sentence)

    def _start_header_timer(self) -> None:
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(self.limits.header_timeout_s, self._head_is_late)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _head_is_late(self) -> None:
        self._refuse(
            Refusal(Reason.REQUEST_TIMEOUT, f"no complete request came within {self.limits.header_timeout_s:g} seconds")
        )

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without a request to answer to, and close."""
        if self.transport.is_closing():
            return
        self.tell.refused(refusal)
        body = render_error(refusal)
        lines = [b"HTTP/1.1 %d Refused" % STATUS[refusal.reason]]
        lines += [name + b": " + value for name, value in headers(refusal) if name != b"connection"]
        lines += [b"content-length: %d" % len(body), b"connection: close", b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()


def bounded(limits: Limits, refused: Callable[[Refusal], None]) -> type[BoundedHttp]:
    """The protocol class of one server; `refused` is told what a connection is refused before it is a request."""
    return type("BoundedHttp", (BoundedHttp,), {"limits": limits, "tell": Tell(refused)})
