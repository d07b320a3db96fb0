"""What a system adds for one caller: the same request in turns to it and straight to the upstream, over kept connections.

The caller is a plain blocking socket: nothing of ours runs between the answer's arrival and the clock.
"""

import contextlib
import re
import socket
import time
from typing import Final

from msgspec import Struct

from bench.systems import System

_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_PIECE: Final = 1 << 16
_TIMEOUT_S: Final = 30.0


class Times(Struct):
    """Seconds to the first frame (of a whole answer: its first byte) and to the end, request by request."""

    first: list[float] = []
    whole: list[float] = []

    def add(self, other: "Times") -> None:
        self.first += other.first
        self.whole += other.whole


class Pair(Struct):
    """The same requests, straight and through."""

    direct: Times
    through: Times

    def added_ms(self, what: str, percent: float) -> float:
        """That percentile through, less that percentile straight; `what` is 'first' or 'whole'."""
        return (percentile(getattr(self.through, what), percent) - percentile(getattr(self.direct, what), percent)) * 1000


def added(system: System, direct: System, model: str, *, stream: bool, seconds: float) -> Pair:
    """Ask both in turns for that long."""
    pair = Pair(Times(), Times())
    with _Caller(direct, model, stream=stream) as straight, _Caller(system, model, stream=stream) as through:
        straight.ask(Times())
        through.ask(Times())
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            straight.ask(pair.direct)
            through.ask(pair.through)
    return pair


def percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of them do not exceed; the nearest rank, nothing in between is made up."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]


class _Caller(contextlib.AbstractContextManager["_Caller"]):
    def __init__(self, system: System, model: str, *, stream: bool) -> None:
        body = system.body(model, stream=stream)
        head = [f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in system.headers(model).items()]
        self._request = ("\r\n".join(head) + "\r\n\r\n").encode() + body
        self._name = system.name
        self._mark = b"data: " if stream else b"\r\n"
        self._socket = socket.create_connection(("127.0.0.1", system.ports[model]), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, times: Times) -> None:
        """One request; its times go to `times`. Raises RuntimeError for an answer that is none."""
        began = time.perf_counter()
        self._socket.sendall(self._request)
        answer, first = b"", 0.0
        while not _is_whole(answer):
            piece = self._socket.recv(_PIECE)
            answer += piece
            if not first and self._mark in answer:
                first = time.perf_counter()
            if not piece:
                break
        ended = time.perf_counter()
        if not answer.startswith(b"HTTP/1.1 200") or not first:
            raise RuntimeError(f"{self._name} answered {answer[:400]!r}")
        times.first.append(first - began)
        times.whole.append(ended - began)


def _is_whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    length = _LENGTH.search(head)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")
