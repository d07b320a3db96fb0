"""What parent and workers say to each other, and the channel it goes through: one JSON object a line over a socket pair.

The channel is private to the two processes: settings and the engines' keys pass through it, and neither an argument nor an
environment has them. Its end is news, too: the other process is gone, however it ended.
"""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from millrace.catalog.tuned.values import TunedModel
from millrace.engines.embedded.follower import Standing
from millrace.settings.parse import Settings

LINE_BYTES_MAX: Final = 16 << 20
"""The metrics of all workers together have some hundred kilobytes."""


class Task(Struct, frozen=True, kw_only=True, tag=True):
    """The first thing that a worker is told: which one of how many it is, and what it serves."""

    number: int
    workers: int
    home: Path
    settings: Settings


class EngineNews(Struct, frozen=True, kw_only=True, tag=True):
    """How an engine of the parent's stands."""

    model: str
    standing: Standing


def loan_name(number: int) -> str:
    """What the engine of a worker's loan is called in news: no model of the settings has such a name."""
    return f"loan {number}"


class Borrow(Struct, frozen=True, tag=True):
    """The worker needs the engine of a tuned model; news of it go by the loan's name, and end with the loan."""

    number: int
    model: TunedModel


class Return(Struct, frozen=True, tag=True):
    """It needs it no longer."""

    number: int


class Drop(Struct, frozen=True, tag=True):
    """These tuned models were removed. Comes every few seconds, also when there is none."""

    names: tuple[str, ...]


class Collect(Struct, frozen=True, tag=True):
    """The parent wants the worker's metrics."""


class Collected(Struct, frozen=True, tag=True):
    """The metrics of all workers, for one that asked."""

    text: str


class ModelState(Struct, frozen=True):
    """A model as a worker sees its engine."""

    name: str
    state: str
    failure: str | None


class Ready(Struct, frozen=True, tag=True):
    """The worker serves."""

    models: tuple[ModelState, ...]


class Refused(Struct, frozen=True, tag=True):
    """The worker cannot serve, and why."""

    sentence: str


class Ask(Struct, frozen=True, tag=True):
    """The worker wants the metrics of all."""


class Sample(Struct, frozen=True, tag=True):
    """The worker's own metrics."""

    text: str


Down = Task | EngineNews | Collect | Collected
"""What a parent says."""

Up = Ready | Refused | Ask | Sample | Borrow | Return | Drop
"""What a worker says."""

In = TypeVar("In")


class Channel(Generic[In]):
    """One end; `receive` gives what the other end said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Any) -> None:
        self._reader = reader
        self._writer = writer
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._decode = msgspec.json.Decoder(kind, dec_hook=_path).decode

    @classmethod
    async def over(cls, end: socket.socket, kind: Any) -> "Channel[In]":
        """`kind` is the union of what comes in: Up at the parent's end, Down at a worker's."""
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=LINE_BYTES_MAX)
        return cls(reader, writer, kind)

    def send(self, message: Down | Up) -> None:
        """Say it, and wait for nobody; to one that is gone it is said in vain."""
        self._writer.write(self._encode(message) + b"\n")

    async def flushed(self) -> None:
        """Wait until the kernel has what was sent; for one that ends next."""
        with contextlib.suppress(OSError):
            self._writer.close()
            await self._writer.wait_closed()

    async def receive(self) -> In | None:
        """The next message; None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        message: In | None = self._decode(line) if line.endswith(b"\n") else None
        return message

    def close(self) -> None:
        self._writer.close()


def _path(kind: type, text: str) -> Path:
    assert kind is Path, kind
    return Path(text)
