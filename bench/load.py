"""As many requests as a system answers, from a number of callers that each wait for their answer.

`wrk` where it is installed, since it costs least; else a client of our own on the same terms.
"""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop
from msgspec import Struct

from bench.client import Callers
from bench.systems import System

WRK: Final = shutil.which("wrk")

_SCRIPT: Final = """\
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = [==[{body}]==]
{headers}
"""


class Rate(Struct, frozen=True):
    """What came back in a second, how many answers were none, and what an answer cost the process that gave it."""

    per_s: float
    failed: int
    cpu_us: float = 0.0
    """Processor time of one answer, all threads of the process; it hardly minds what else the machine does."""


def generator() -> str:
    """The name of what makes the load."""
    return "wrk" if WRK else "own client"


def saturate(
    system: System, model: str, *, stream: bool, callers: int, seconds: float, folder: Path, cores: Sequence[int]
) -> Rate:
    """Requests a second at that many callers. Whole answers or streams to their end."""
    began, used = time.monotonic(), _cpu_s(system)
    if WRK is None:
        rate = _own(system, model, stream=stream, callers=callers, seconds=seconds)
    else:
        rate = _wrk(WRK, system, model, stream=stream, callers=callers, seconds=seconds, folder=folder, cores=cores)
    answers = rate.per_s * (time.monotonic() - began)
    return Rate(rate.per_s, rate.failed, (_cpu_s(system) - used) / max(answers, 1) * 1e6)


def _wrk(
    wrk: str, system: System, model: str, *, stream: bool, callers: int, seconds: float, folder: Path, cores: Sequence[int]
) -> Rate:
    script = folder / "load.lua"
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in system.headers(model).items())
    script.write_text(_SCRIPT.format(body=system.body(model, stream=stream).decode(), headers=headers), encoding="utf-8")
    url = f"http://127.0.0.1:{system.ports[model]}"
    command = ["taskset", "-c", ",".join(map(str, cores)), wrk, "-t1", f"-c{callers}", f"-d{max(1, round(seconds))}s"]
    said = subprocess.run([*command, "--timeout", "30s", "-s", str(script), url], check=True, capture_output=True, text=True)
    return _parse(said.stdout)


def _parse(said: str) -> Rate:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None:
        raise RuntimeError(f"wrk said what is not understood: {said}")
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return Rate(float(rate[1]), int(failed[1] if failed else 0) + sum(map(int, broken.groups() if broken else ())))


def _own(system: System, model: str, *, stream: bool, callers: int, seconds: float) -> Rate:
    async def ask() -> Rate:
        group = Callers(system, model, callers, stream=stream)
        began = time.monotonic()
        await group.start()
        await asyncio.sleep(seconds)
        rate = group.answers / (time.monotonic() - began)
        await group.stop()
        return Rate(rate, group.failed)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(ask())


def _cpu_s(system: System) -> float:
    return 0.0 if system.child is None else system.child.cpu_s()
