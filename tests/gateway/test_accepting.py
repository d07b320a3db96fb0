"""Several acceptors on one socket: connections are spread evenly, and none waits for one that does not come."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import IO

from millrace.gateway.accepting import OneByOne, Tally


class Taker:
    """One process, as far as the socket knows: it takes connections and keeps them."""

    def __init__(self, listener: socket.socket, file: IO[bytes], of: int, number: int) -> None:
        self.protocols: list[asyncio.Protocol] = []
        self.tally = Tally(file.fileno(), of, number)
        self.acceptor = OneByOne(listener, self._take, self.tally, self.protocols.__len__)

    def _take(self) -> asyncio.Protocol:
        self.protocols.append(Keeper())
        return self.protocols[-1]


class Keeper(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def listening(takers: int) -> AsyncIterator[tuple[socket.socket, IO[bytes]]]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), Tally.size(takers))
        yield listener, file


async def connect(listener: socket.socket, count: int) -> None:
    """So many connections, each until its taker has closed it."""

    async def one() -> None:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()

    await asyncio.gather(*(one() for _ in range(count)))


def test_a_burst_is_shared_evenly() -> None:
    """Of 40 connections at once each of two has about half."""

    async def scene() -> list[int]:
        async with listening(2) as (listener, file), AsyncExitStack() as stack:
            takers = [Taker(stack.enter_context(listener.dup()), file, 2, number) for number in range(2)]
            for taker in takers:
                stack.callback(taker.acceptor.close)
            await connect(listener, 40)
            return [len(taker.protocols) for taker in takers]

    first, second = asyncio.run(scene())
    assert first + second == 40
    assert min(first, second) >= 10


def test_one_that_does_not_come_is_not_waited_for() -> None:
    """A process that has few connections and takes none (it is stopped, or gone) leaves them to the other."""

    async def scene() -> int:
        async with listening(2) as (listener, file):
            taker = Taker(listener, file, 2, 1)
            await connect(listener, 100)
            taker.acceptor.close()
            await taker.acceptor.wait_closed()
            return len(taker.protocols)

    assert asyncio.run(scene()) == 100


def test_closed_it_takes_nothing_more() -> None:
    """What comes afterwards waits in the socket, for another process."""

    async def scene() -> int:
        async with listening(1) as (listener, file):
            taker = Taker(listener, file, 1, 0)
            taker.acceptor.close()
            with socket.create_connection(listener.getsockname()):
                for _ in range(10):
                    await asyncio.sleep(0)
            listener.accept()[0].close()
            return len(taker.protocols)

    assert asyncio.run(scene()) == 0
