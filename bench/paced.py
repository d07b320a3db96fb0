"""Paced streams, as people who read along cause them: many at once, a token every 20 ms each."""

import asyncio
from typing import Final

import uvloop
from msgspec import Struct

from bench.client import Callers
from bench.systems import System

RAMP_S: Final = 1.28
"""The length of one stream: started evenly over it, the streams go on starting evenly."""


class Paced(Struct, frozen=True):
    """Of all streams that ran at once: seconds to each first token, each stream's worst gap, and the gateway's work."""

    first: list[float]
    worst_gaps: list[float]
    chunks_per_s: float
    cpu_per_chunk_us: float
    """Processor time of the gateway's process, all of its threads; 0 where there is no gateway."""
    failed: int


def measure(system: System, streams: int, seconds: float) -> Paced:
    """That many streams at once, for that long after all have begun."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(system, streams, seconds))


async def _measure(system: System, streams: int, seconds: float) -> Paced:
    callers = Callers(system, "paced", streams, stream=True)
    await callers.start(RAMP_S)
    callers.forget()
    cpu_s = _cpu_s(system)
    await asyncio.sleep(seconds)
    used, chunks = _cpu_s(system) - cpu_s, callers.chunks
    first, gaps = callers.first.copy(), callers.worst_gaps.copy()
    await callers.stop()
    return Paced(first, gaps, chunks / seconds, used / max(chunks, 1) * 1e6, callers.failed)


def _cpu_s(system: System) -> float:
    return 0.0 if system.child is None else system.child.cpu_s()
