"""A child process from spawn to reaping: nothing of it is left once `stop` has returned."""

import asyncio
import asyncio.subprocess
import signal
from collections.abc import Sequence
from typing import Final

from millrace.engines.supervisor import NotServingError

TERMINATE_S: Final = 5.0
"""How long a child may take to end by itself after SIGTERM; then it is killed."""


class Process:
    """A child in a session of its own, so that Ctrl-C in the terminal reaches us and not it. Its standard input stays
    open as long as we live: at its end the child knows that we are gone, even by `kill -9`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def spawn(cls, arguments: Sequence[str], first_input: bytes) -> "Process":
        """Start a program and write to its standard input. Raises NotServingError when it cannot be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise NotServingError(f"{arguments[0]} cannot be started: {error.strerror}") from None
        assert process.stdin is not None
        process.stdin.write(first_input)
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self) -> bytes:
        """The next line of its standard output; empty at the end."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def gone(self) -> str:
        """Wait for its end, and say how it ended."""
        return how_it_ended(await self._process.wait())

    async def stop(self, terminate_s: float = TERMINATE_S) -> None:
        """SIGTERM, after that time SIGKILL, and reap."""
        process = self._process
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(terminate_s):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()
        assert process.stdin is not None
        process.stdin.close()


def how_it_ended(code: int) -> str:
    """A return code in words; a negative one is the signal that ended the process."""
    if code >= 0:
        return f"its process ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    if -code == signal.SIGKILL:
        return f"its process was ended by {name}, as the system does when memory runs out"
    return f"its process was ended by {name}"
