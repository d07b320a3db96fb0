"""Our own callers: keep-alive, one request after the other, and the time of every piece that comes back.

A caller is one asyncio.Protocol that looks for frames and for the end of the answer in the bytes and parses nothing else,
so that a core can have hundreds of paced streams and still be waiting for the system under test.
"""

import asyncio
import re
import time
from typing import Final, cast

from bench.systems import System

_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_END: Final = b"0\r\n\r\n"


class Callers:
    """A number of callers of one system. Times are seconds; a gap is the time between two pieces of one stream."""

    def __init__(self, system: System, model: str, count: int, *, stream: bool) -> None:
        body = system.body(model, stream=stream)
        head = [f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in system.headers(model).items()]
        self.request = ("\r\n".join(head) + "\r\n\r\n").encode() + body
        self.stream = stream
        self.answers = 0
        self.failed = 0
        self.chunks = 0
        self.first: list[float] = []
        self.whole: list[float] = []
        self.worst_gaps: list[float] = []
        """The longest gap of each stream."""
        self.stopping = False
        self._port = system.ports[model]
        self._count = count
        self._left = count
        self._over = asyncio.Event()

    async def start(self, ramp_s: float = 0.0) -> None:
        """Open all connections, evenly over that time; each begins to ask at once."""
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            await loop.create_connection(lambda: _Caller(self), "127.0.0.1", self._port)
            if ramp_s:
                await asyncio.sleep(ramp_s / self._count)

    def forget(self) -> None:
        """What came until now was the start and does not count."""
        self.answers = self.chunks = 0
        for times in (self.first, self.whole, self.worst_gaps):
            times.clear()

    async def stop(self) -> None:
        """Let each caller finish its last answer."""
        self.stopping = True
        await self._over.wait()

    def leave(self) -> None:
        self._left -= 1
        if not self._left:
            self._over.set()


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._transport: asyncio.Transport | None = None
        self._asked = self._latest = self._worst_gap = 0.0
        self._head = self._tail = b""
        self._in_body = self._chunked = False
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass
        self._ask(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._asked:
            self._callers.failed += 1
        self._callers.leave()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._in_body:
            self._head += data
            head, blank, data = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            self._take_head(head)
        frames = data.count(b"data: ") if self._callers.stream else 0
        if frames:
            self._take_frames(frames, now)
        self._tail = (self._tail + data)[-len(_END) :]
        self._missing -= len(data)
        if self._tail == _END if self._chunked else self._missing <= 0:
            self._finish(now)

    def _ask(self, now: float) -> None:
        assert self._transport is not None
        if self._callers.stopping:
            self._asked = 0.0  # nothing is owed to us any more
            self._transport.close()
            return
        self._head = self._tail = b""
        self._in_body = False
        self._latest = self._worst_gap = 0.0
        self._asked = now
        self._transport.write(self._callers.request)

    def _take_head(self, head: bytes) -> None:
        self._in_body = True
        length = _LENGTH.search(head)
        self._chunked = length is None
        self._missing = int(length[1]) if length else 0
        if not head.startswith(b"HTTP/1.1 200"):
            self._callers.failed += 1

    def _take_frames(self, frames: int, now: float) -> None:
        self._callers.chunks += frames
        if not self._latest:
            self._callers.first.append(now - self._asked)
        elif now - self._latest > self._worst_gap:
            self._worst_gap = now - self._latest
        self._latest = now

    def _finish(self, now: float) -> None:
        callers = self._callers
        callers.answers += 1
        callers.whole.append(now - self._asked)
        callers.worst_gaps.append(self._worst_gap)
        self._ask(now)
