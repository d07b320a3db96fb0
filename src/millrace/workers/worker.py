"""One worker process as its parent holds it: spawned with the listening socket and a channel, spoken to, ended, reaped."""

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
from typing import IO, Protocol

from millrace.engines.process import how_it_ended
from millrace.gateway.accepting import Tally
from millrace.workers.messages import Channel, Down, Task, Up

MODULE = "millrace.cli.worker"


class Worker(Protocol):
    """A running worker."""

    @property
    def pid(self) -> int: ...

    def tell(self, message: Down) -> None: ...

    async def heard(self) -> Up | None:
        """What it says next; None when it is about to be gone."""
        ...

    def send_signal(self, number: signal.Signals) -> None: ...

    async def gone(self) -> str:
        """Wait for its end, and say how it ended. Nothing of it is left then."""
        ...


def tally_file(workers: int) -> IO[bytes]:
    """For the `Tally` of so many, without a name: it goes when the last of them has closed it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the crew
    file.truncate(Tally.size(workers))
    return file


class WorkerProcess:
    """The real one: a fresh interpreter in a session of its own, so that Ctrl-C in the terminal reaches its parent only."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel[Up]) -> None:
        self._process = process
        self._channel = channel

    @classmethod
    async def spawn(cls, task: Task, listener: socket.socket, tally: IO[bytes]) -> "WorkerProcess":
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (listener.fileno(), theirs.fileno(), tally.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", MODULE, *map(str, descriptors),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors, start_new_session=True,
            )  # fmt: skip
        channel: Channel[Up] = await Channel.over(ours, Up)
        channel.send(task)
        return cls(process, channel)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: Down) -> None:
        self._channel.send(message)

    async def heard(self) -> Up | None:
        return await self._channel.receive()

    def send_signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def gone(self) -> str:
        code = await self._process.wait()
        self._channel.close()
        return how_it_ended(code)
