"""Accepting from a socket that several processes share, so that each gets about as many connections as the others.

Theory of operation. A new connection wakes every process that waits for the socket. One that then took all that wait there,
as event loops do, would have a whole burst before the others are awake, and keep it for as long as clients keep their
connections. So each takes one at a time, and one that has more than another steps back for STEP_BACK_S first. What is still
there after that nobody else wants (a process may be stopped or busy), so it is taken all the same, and more at a time while
that goes on. Nothing is assigned to a process before it takes it: none that dies leaves a connection that nobody answers.
"""

import asyncio
import logging
import mmap
import socket
import struct
from collections.abc import Callable
from typing import Final

STEP_BACK_S: Final = 0.002
"""An idle process is awake within a tenth of it."""

UNWANTED_MAX: Final = 8
"""Taken without stepping back while nobody else does: 4,000 a second, far more than one process answers."""

PAUSE_S: Final = 1.0
"""Where the system has no descriptor left there will be none a moment later; the siblings may have one."""

_COUNT: Final = struct.Struct("=I")

_log = logging.getLogger("millrace.gateway")


class Tally:
    """How many connections each process has, in memory that they share. A number may be old; it is a hint to no harm."""

    def __init__(self, descriptor: int, processes: int, number: int) -> None:
        self._others = [other for other in range(processes) if other != number]
        self._number = number
        self._counts = mmap.mmap(descriptor, self.size(processes))

    @staticmethod
    def size(processes: int) -> int:
        """Bytes that the descriptor's file must have, zeroes at first."""
        return processes * _COUNT.size

    def note(self, count: int) -> None:
        _COUNT.pack_into(self._counts, self._number * _COUNT.size, count)

    def least_of_others(self) -> int:
        return min((_COUNT.unpack_from(self._counts, other * _COUNT.size)[0] for other in self._others), default=0)


class OneByOne:
    """Begins when it is made, ends with `close`; the socket stays its owner's. `count` says how many connections there are."""

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], tally: Tally, count: Callable[[], int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._tally = tally
        self._count = count
        self._connecting: set[asyncio.Task[None]] = set()
        self._resumption: asyncio.TimerHandle | None = None
        self._unwanted = 0
        self._free = 0
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listener)
        if self._resumption is not None:
            self._resumption.cancel()

    async def wait_closed(self) -> None:
        """Until each connection that was taken has its protocol."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._look)

    def _look(self) -> None:
        """Something waits."""
        count = self._count() + len(self._connecting)
        self._tally.note(count)
        if self._free:
            self._free -= 1
        elif count > self._tally.least_of_others():
            self._wait(STEP_BACK_S, self._take_unwanted)
            return
        self._take()

    def _take_unwanted(self) -> None:
        """After stepping back: what waits still may be taken, twice as many as the last time."""
        self._resume()
        self._free = 0
        if self._take():
            self._unwanted = min(2 * self._unwanted + 1, UNWANTED_MAX)
            self._free = self._unwanted - 1
        else:
            self._unwanted = 0

    def _take(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another process was first, or the client left
        except OSError as error:
            _log.error("no connection can be accepted for %g s: %s", PAUSE_S, error.strerror)
            self._wait(PAUSE_S, self._resume)
            return False
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return True

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._resumption = self._loop.call_later(seconds, then)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client left
            connection.close()
