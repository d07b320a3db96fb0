"""Tokens a second through Millrace over tokens a second straight from llama.cpp: `python -m bench.embedded`.

Two llama.cpp servers with the same settings and the same bundled weights: one that Millrace started and answers from, books
on, and one that is asked straight. They take turns (A B A B …), with one caller and with eight, with the same prompts at
temperature 0. A ratio is the median of the rounds' ratios. Nothing is pinned: engine, gateway and callers share the machine
as they would at home.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import msgspec
import uvloop

from bench.processes import end_on_signal, free_port, running
from bench.report import Conditions, Table, append, median, show, spread
from bench.systems import audit, home_of, run_cli
from millrace.catalog.bundled import NAME, PATH, bundled_model
from millrace.engines.embedded.served import LlamaServer
from millrace.engines.embedded.settings import EmbeddedSettings

GOAL: Final = 0.98
CALLERS: Final = (1, 8)
MAX_TOKENS: Final = 256
NEVER: Final = {"0": -100, "1": -100, "2": -100}
"""A bias against the tokens that end an answer of the bundled model: every answer has MAX_TOKENS, as a larger model's would."""
PROMPTS: Final = (
    "Hello! What can you do for me?",
    "Do you have a quiet kettle for a small kitchen?",
    "My parcel has not come yet. What should I do?",
    "Which lamp would you take for a desk, and why?",
    "Can I send a coat back that does not fit?",
    "Tell me about your running shoes.",
    "What does delivery cost, and how long does it take?",
    "I am looking for a present for my mother.",
)

_MADE: Final = re.compile(rb'"completion_tokens":\s*(\d+)')
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=300)


class Place(NamedTuple):
    """Where to ask, and with which key."""

    name: str
    url: str
    key: str


class Turn(NamedTuple):
    """What came back in one turn."""

    tokens_per_s: float
    answers: int
    tokens: int


THROUGH: Final = "through Millrace"
STRAIGHT: Final = "straight"
Turns = dict[tuple[int, str], list[Turn]]


def main() -> None:
    end_on_signal()
    parser = argparse.ArgumentParser(
        prog="python -m bench.embedded", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn; 3 is a quick look (default 15)")
    parser.add_argument("--rounds", type=int, default=4, help="how often each has its turn (default 4)")
    parser.add_argument("--log", action="store_true", help="append the result to docs/LOG.md")
    given = parser.parse_args()
    if not PATH.is_file():
        sys.exit(f"bench.embedded needs the bundled model, and {NAME}.gguf is not in this checkout (models/ makes it)")
    conditions = Conditions.now()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            turns = runner.run(_measure(folder, given.seconds, given.rounds))
        remarks = [f"{given.rounds} rounds of {given.seconds:g} s; {NAME}, {_lengths(turns)}", audit(home_of(folder))]
    tables = [_table(turns)]
    show(conditions, tables, remarks)
    if given.log:
        append("embedded: tokens through Millrace over tokens straight from llama.cpp", conditions, tables, remarks)


async def _measure(folder: Path, seconds: float, rounds: int) -> Turns:
    turns: Turns = {}
    async with _through(folder) as through, _straight(folder) as straight, _session() as session:
        for place in (through, straight):
            await _turn(session, place, 1, 1.0)
        for _ in range(rounds):
            for callers in CALLERS:
                for place in (through, straight):
                    turns.setdefault((callers, place.name), []).append(await _turn(session, place, callers, seconds))
    return turns


@asynccontextmanager
async def _through(folder: Path) -> AsyncIterator[Place]:
    """A cloud with the bundled model, as `millrace up` makes it, and a key to it."""
    home, port = home_of(folder), free_port()
    run_cli(home, "tenant", "create", "bench")
    run_cli(home, "grant", "create", "--tenant", "bench", "--amount", "1000.00")
    key = msgspec.json.decode(run_cli(home, "key", "create", "--tenant", "bench", "--json"))["key"]
    command = [sys.executable, "-m", "millrace.cli.main", "up", "--home", str(home), "--port", str(port)]
    with running("millrace", command, cores=sorted(os.sched_getaffinity(0)), folder=folder) as child:
        await asyncio.to_thread(child.wait_for, port, "/readyz", {})
        yield Place(THROUGH, f"http://127.0.0.1:{port}/v1", key)


@asynccontextmanager
async def _straight(folder: Path) -> AsyncIterator[Place]:
    """llama.cpp as the embedded engine starts it."""
    model = bundled_model()
    settings = EmbeddedSettings(
        model=model.name, path=str(PATH), context_tokens=model.context_tokens, slots=model.slots, log=str(folder / "llama.log")
    )
    server = await LlamaServer.launch(settings)
    try:
        await server.ready()
        assert server.links is not None
        upstream = server.links.answers.upstream
        yield Place(STRAIGHT, f"{upstream.url}/v1", upstream.api_key or "")
    finally:
        await server.stop()


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    """A connection a request: llama.cpp closes kept ones unannounced, so neither place is asked over one."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=_REQUEST_TIMEOUT) as session:
        yield session


async def _turn(session: aiohttp.ClientSession, place: Place, callers: int, seconds: float) -> Turn:
    """Ask for that long; what was asked by then is waited for, and counts with its time."""
    numbers = count()
    made: list[int] = []
    began = time.monotonic()

    async def caller() -> None:
        while time.monotonic() < began + seconds:
            made.append(await _ask(session, place, PROMPTS[next(numbers) % len(PROMPTS)]))

    await asyncio.gather(*(caller() for _ in range(callers)))
    return Turn(sum(made) / (time.monotonic() - began), len(made), sum(made))


async def _ask(session: aiohttp.ClientSession, place: Place, prompt: str) -> int:
    """The tokens of one streamed answer. Raises RuntimeError for an answer that is none."""
    body = {
        "model": NAME, "messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS, "temperature": 0,
        "logit_bias": NEVER, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {place.key}"}
    async with session.post(f"{place.url}/chat/completions", json=body, headers=headers) as response:
        said = await response.read()
    found = _MADE.findall(said)
    if response.status != 200 or not found:
        raise RuntimeError(f"{place.name} answered {response.status}: {said[:300]!r}")
    return int(found[-1])


def _table(turns: Turns) -> Table:
    rows = []
    for callers in CALLERS:
        through, straight = turns[callers, THROUGH], turns[callers, STRAIGHT]
        ratios = [one.tokens_per_s / other.tokens_per_s for one, other in zip(through, straight, strict=True)]
        speeds = [spread([turn.tokens_per_s for turn in some]) for some in (through, straight)]
        rows.append([f"{callers} caller{'s' if callers > 1 else ''}", spread(ratios, 3), f"≥ {GOAL}", *speeds])
    headings = ["", "ratio", "goal", f"{THROUGH}, tokens/s", f"{STRAIGHT}, tokens/s"]
    return Table("Tokens through Millrace ÷ straight from llama.cpp", headings, rows)


def _lengths(turns: Turns) -> str:
    """Short answers show the cost of a request, long ones that of a token."""
    each: Sequence[float] = [turn.tokens / turn.answers for some in turns.values() for turn in some]
    return f"{median(each):.0f} tokens an answer"


if __name__ == "__main__":
    main()
