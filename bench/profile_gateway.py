"""Where the processor time of the gateway goes at saturation: `python -m bench.profile_gateway`. Sampled, not guessed.

py-spy looks at the stacks of all threads that run, 500 times a second, from outside. Two tables for each kind of load: how
much of the time each part of the program (with all that it calls) takes, and the functions that most time is spent in.
"""

import argparse
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from bench import load, peers
from bench.processes import end_on_signal
from bench.report import Conditions, Table, append, show
from bench.systems import MILLRACE, System, cores, systems

RATE_HZ: Final = 500
FUNCTIONS_SHOWN: Final = 18

LOADS: Final = (("whole answers", "instant", False, 32), ("streams, 20 chunks 1 ms apart", "spaced", True, 128))
"""Title, model, whether streamed, callers."""


class Part(NamedTuple):
    """A part of the program, known by functions: a sample belongs to the first part one of whose functions is in it."""

    name: str
    functions: tuple[str, ...]


PARTS: Final = (
    Part("writer thread: commits (fsync included)", ("_serve (millrace/store/writer.py",)),
    Part("settle, on the event loop", ("settle (millrace/money/billing/books.py", "_settle (millrace/money/billing/books.py")),
    Part("hold, on the event loop", ("hold (millrace/money/billing/books.py",)),
    Part("answers of the writer, delivered", ("_resolve (millrace/store/writer.py",)),
    Part("progress journal", ("progress (millrace/money/billing/books.py",)),
    Part("upstream: sending, waiting, reading, metering", ("generate (millrace/engines/remote/engine.py",)),
    Part("upstream: bytes taken in", ("data_received (aiohttp",)),
    Part("sending to the client", ("write (millrace/gateway/exchange.py", "start (millrace/gateway/exchange.py")),
    Part("rendering frames and answers", ("chunk (millrace/wire", "render_chat (millrace/wire", "collected (millrace/wire")),
    Part("reading and parsing the request", ("body (millrace/gateway/exchange.py", "parse_chat (millrace/wire")),
    Part("admission, measuring", ("admit (millrace/gateway/admission.py", "offer (millrace/gateway/admission.py")),
    Part("limits", ("admit (millrace/gateway/limiter.py", "release (millrace/gateway/limiter.py")),
    Part("authentication", ("caller (millrace/tenants/authenticate.py",)),
    Part("metrics", ("settled (millrace/gateway/metrics.py",)),
    Part("HTTP server: request in", ("data_received (uvicorn",)),
    Part("the rest of the gateway", ("__call__ (millrace/gateway/app.py",)),
    Part("HTTP server: the rest", ("run_asgi (uvicorn",)),
    Part("background work", ("_repeat (millrace/wiring.py",)),
)


def main() -> None:
    end_on_signal()
    parser = argparse.ArgumentParser(prog="python -m bench.profile_gateway", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (default 10)")
    parser.add_argument("--log", action="store_true", help="append the result to docs/LOG.md")
    given = parser.parse_args()
    conditions = Conditions.now()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        tables, remarks = profiled(Path(name), given.seconds)
    show(conditions, tables, remarks)
    if given.log:
        append("where the gateway's time goes", conditions, tables, remarks)


def profiled(folder: Path, seconds: float) -> tuple[list[Table], list[str]]:
    tables: list[Table] = []
    with systems([MILLRACE], folder, cores()) as (_, gateway):
        for title, model, stream, callers in LOADS:
            with gateway.awake():
                stacks = _sample(gateway, model, stream=stream, callers=callers, folder=folder, seconds=seconds)
            tables += [_by_part(title, stacks), _by_function(title, stacks)]
    remark = f"py-spy at {RATE_HZ} Hz for {seconds:g} s each; sampling itself slows the gateway a little"
    return tables, [remark]


def _sample(system: System, model: str, *, stream: bool, callers: int, folder: Path, seconds: float) -> Counter[str]:
    """Folded stacks, outermost function first, and how often each was seen."""
    assert system.child is not None
    where = cores()

    def ask() -> None:
        load.saturate(system, model, stream=stream, callers=callers, seconds=seconds + 2, folder=folder, cores=where.others)

    asking = threading.Thread(target=ask)
    asking.start()
    out = folder / f"{model}-{stream}.folded"
    try:
        subprocess.run(
            [peers.py_spy(), "record", "--pid", str(system.child.pid), "--duration", str(round(seconds)), "--rate",
             str(RATE_HZ), "--format", "raw", "--nonblocking", "--output", str(out)],
            check=True, capture_output=True,
        )  # fmt: skip
    finally:
        asking.join()
    stacks: Counter[str] = Counter()
    for line in out.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        stacks[stack] += int(count)
    return stacks


def _by_part(title: str, stacks: Counter[str]) -> Table:
    parts: Counter[str] = Counter()
    for stack, count in stacks.items():
        parts[_part_of(stack)] += count
    return Table(f"{title}: share of the processor time, by part", ["part", "%"], _rows(parts.most_common()))


def _by_function(title: str, stacks: Counter[str]) -> Table:
    functions: Counter[str] = Counter()
    for stack, count in stacks.items():
        functions[_without_line(stack.rsplit(";", 1)[-1])] += count
    rows = _rows(functions.most_common(FUNCTIONS_SHOWN))
    return Table(f"{title}: functions, without what they call", ["function", "%"], rows)


def _part_of(stack: str) -> str:
    for part in PARTS:
        if any(function in stack for function in part.functions):
            return part.name
    return "event loop and everything else"


def _without_line(frame: str) -> str:
    return frame.rpartition(":")[0] + ")" if ":" in frame else frame


def _rows(counted: Iterable[tuple[str, int]]) -> list[list[str]]:
    counted = list(counted)
    total = max(1, sum(count for _, count in counted))
    return [[name, f"{count / total * 100:.1f}"] for name, count in counted]


if __name__ == "__main__":
    main()
