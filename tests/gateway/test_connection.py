"""One write for the head of an answer and its first piece, and what a request may know of its connection."""

import asyncio
from typing import Any, cast

from millrace.gateway.connection import EXTENSION, Connection, OneWrite
from millrace.gateway.exchange import Exchange, Message
from millrace.gateway.trail import Trail


class Wire:
    """A transport that remembers each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


def one_write() -> tuple[Wire, OneWrite]:
    wire = Wire()
    return wire, OneWrite(cast("asyncio.Transport", wire))


def test_what_is_kept_leaves_with_what_follows() -> None:
    """Head and first piece are one write; everything after that is a write of its own."""
    wire, transport = one_write()
    transport.write(b"100")
    transport.keep_next()
    transport.write(b"head ")
    assert wire.writes == [b"100"]
    transport.write(b"first")
    transport.write(b"second")
    assert wire.writes == [b"100", b"head first", b"second"]


def test_an_empty_piece_lets_the_head_go() -> None:
    """An answer without a body still has its head sent."""
    wire, transport = one_write()
    transport.keep_next()
    transport.write(b"head")
    transport.write(b"")
    assert wire.writes == [b"head"]


def test_the_head_of_a_head_request_is_not_kept() -> None:
    """HEAD has no body to wait for, so nothing is kept back."""
    kept = []

    async def send(message: Message) -> None:
        kept.append(message["type"])

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    def exchange(method: str, connection: Connection) -> Exchange:
        scope: dict[str, Any] = {"method": method, "path": "/", "headers": [], "extensions": {EXTENSION: connection}}
        return Exchange(scope, receive, send, Trail("req_1", method, "/", lambda: 0))

    asked: list[str] = []
    for method in ("HEAD", "POST"):
        connection = Connection(lambda: False, keep_head=lambda method=method: asked.append(method))  # type: ignore[misc]
        asyncio.run(exchange(method, connection).start(200, []))
    assert asked == ["POST"]
