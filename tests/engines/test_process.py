"""Child processes, real ones."""

import asyncio
import os
import sys

import pytest

from millrace.engines.process import Process, how_it_ended
from millrace.engines.supervisor import NotServingError

WAITS = "import sys, time; print('up', flush=True); time.sleep(60)"
IGNORES_TERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
ECHOES = "import sys; print(sys.stdin.readline().strip().upper(), flush=True); sys.stdin.read()"


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_written_first_is_read_by_the_child() -> None:
    """Settings go through standard input, and standard output brings back a line."""

    async def scene() -> bytes:
        child = await Process.spawn([sys.executable, "-c", ECHOES], b"hello\n")
        line = await child.line()
        await child.stop()
        return line

    assert asyncio.run(scene()) == b"HELLO\n"


def test_stop_ends_and_reaps_the_child() -> None:
    """Not even a zombie is left, and stopping again does no harm."""

    async def scene() -> int:
        child = await Process.spawn([sys.executable, "-c", WAITS], b"")
        await child.line()
        await child.stop()
        await child.stop()
        return child.pid

    assert not exists(asyncio.run(scene()))


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    """After its time SIGKILL follows."""

    async def scene() -> str:
        child = await Process.spawn([sys.executable, "-c", IGNORES_TERM], b"")
        await child.line()
        await child.stop(terminate_s=0.05)
        return await child.gone()

    assert "SIGKILL" in asyncio.run(scene())


def test_a_program_that_is_missing_is_named() -> None:
    """The failure says what could not be started."""

    async def scene() -> None:
        await Process.spawn(["/no/such/program"], b"")

    with pytest.raises(NotServingError, match="/no/such/program cannot be started: No such file"):
        asyncio.run(scene())


def test_how_a_process_ended_is_told_in_words() -> None:
    """Codes and signals are named; SIGKILL hints at memory."""
    assert how_it_ended(3) == "its process ended with code 3"
    assert how_it_ended(-15) == "its process was ended by SIGTERM"
    assert "memory" in how_it_ended(-9)
