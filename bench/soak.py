"""One worker for a long while: `python -m bench.soak`, `--requests 5000` for a quick look.

Whole answers and streams, mixed, from callers that each wait for their answer, until so many requests were answered. On the way
it is noted, a hundred times: the worker's resident memory, open files, threads, the journal's segments, the size of the write-
ahead log, and how long answers took since the note before. The table compares the first tenth of the requests with the last;
the slope is a line through the second half. What is looked for is growth: nothing here fails by the clock.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import uvloop
from msgspec import Struct

from bench.client import Callers
from bench.latency import percentile
from bench.load import Rate
from bench.processes import end_on_signal
from bench.report import Conditions, Table, append, show
from bench.systems import MILLRACE, TOKENS, System, audit, cores, home_of, systems

NOTES: Final = 100
LOOK_S: Final = 0.05
WHOLE_CALLERS: Final = 16
STREAM_CALLERS: Final = 16
MEMORY_GOAL_MB: Final = 200
FLAT: Final = 0.05
"""From the third quarter to the last, memory grows by no more than this share of it, or it is not flat."""


class Note(Struct, frozen=True):
    """Of the worker, after so many requests. Times are milliseconds since the note before."""

    requests: int
    memory_mb: float
    files: int
    threads: int
    segments: int
    journal_kb: float
    wal_mb: float
    whole_p50: float
    whole_p99: float
    first_p50: float
    first_p99: float


Figure = Callable[[Note], float]

FIGURES: Final[Sequence[tuple[str, Figure, int]]] = (
    ("resident memory, MB", lambda note: note.memory_mb, 1),
    ("open files", lambda note: note.files, 0),
    ("threads", lambda note: note.threads, 0),
    ("journal segments", lambda note: note.segments, 0),
    ("journal, kB", lambda note: note.journal_kb, 0),
    ("write-ahead log, MB", lambda note: note.wal_mb, 1),
    ("whole answer, p50, ms", lambda note: note.whole_p50, 1),
    ("whole answer, p99, ms", lambda note: note.whole_p99, 1),
    ("first token of a stream, p50, ms", lambda note: note.first_p50, 1),
    ("first token of a stream, p99, ms", lambda note: note.first_p99, 1),
)


def main() -> None:
    end_on_signal()
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000, help="in all (default 100000)")
    parser.add_argument("--log", action="store_true", help="append the result to docs/LOG.md")
    given = parser.parse_args()
    conditions = Conditions.now()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with systems([MILLRACE], folder, cores()) as (_, gateway), gateway.awake():
            notes, rate = uvloop.run(soak(gateway, home_of(folder), given.requests))
        what = (
            f"{notes[-1].requests:,} requests, {rate.per_s:,.0f} a second, from {WHOLE_CALLERS} callers of whole answers and "
            f"{STREAM_CALLERS} of streams of {TOKENS} chunks; no line for each request in the log"
        )
        remarks = [what, verdict(notes), audit(home_of(folder))]
    if rate.failed:
        remarks.append(f"FAILED: {rate.failed} answers")
    show(conditions, [table(notes)], remarks)
    if given.log:
        append("one worker for a long while", conditions, [table(notes)], remarks)


async def soak(gateway: System, home: Path, requests: int) -> tuple[list[Note], Rate]:
    """Ask until so many were answered, and note how the worker does."""
    whole = Callers(gateway, "instant", WHOLE_CALLERS, stream=False)
    streams = Callers(gateway, "instant", STREAM_CALLERS, stream=True)
    loop = asyncio.get_running_loop()
    began, answered, notes = loop.time(), 0, list[Note]()
    await whole.start()
    await streams.start()
    for number in range(1, NOTES + 1):
        due = requests * number // NOTES
        while answered + whole.answers + streams.answers < due:  # noqa: ASYNC110 - a look costs less than telling each answer
            await asyncio.sleep(LOOK_S)
        answered += whole.answers + streams.answers
        notes.append(_note(gateway, home, answered, whole.whole, streams.first))
        whole.forget()
        streams.forget()
    rate = Rate(answered / (loop.time() - began), whole.failed + streams.failed)
    await whole.stop()
    await streams.stop()
    return notes, rate


def _note(gateway: System, home: Path, requests: int, whole: list[float], first: list[float]) -> Note:
    assert gateway.child is not None
    process = Path(f"/proc/{gateway.child.pid}")
    journal = [path.stat().st_size for path in _files(home / "journal", "*.journal")]
    log = [path.stat().st_size for path in _files(home, "millrace.db-wal")]
    return Note(
        requests, gateway.child.memory_mb(), _entries(process / "fd"), _entries(process / "task"),
        len(journal), sum(journal) / 1e3, sum(log) / 1e6,
        *(percentile(times or [0.0], percent) * 1000 for times in (whole, first) for percent in (50, 99)),
    )  # fmt: skip


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _files(folder: Path, pattern: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.glob(pattern))
    return []


def table(notes: Sequence[Note]) -> Table:
    tenth, half = len(notes) // 10, len(notes) // 2
    rows = [
        [
            name, f"{_median(figure, notes[:tenth]):,.{digits}f}", f"{_median(figure, notes[-tenth:]):,.{digits}f}",
            f"{max(map(figure, notes)):,.{digits}f}", f"{_slope(figure, notes[half:]):+,.2f}",
        ]
        for name, figure, digits in FIGURES
    ]  # fmt: skip
    return Table(
        "One worker, first tenth of the requests against the last",
        ["", "first tenth", "last tenth", "most", "slope, per 10,000 requests"], rows,
    )  # fmt: skip


def verdict(notes: Sequence[Note]) -> str:
    """The goal: less than so much memory, and flat. The first half fills caches of fixed size (SQLite's pages: 32 MB)."""
    quarter = len(notes) // 4
    early, late = (_median(_memory, some) for some in (notes[-2 * quarter : -quarter], notes[-quarter:]))
    most = max(map(_memory, notes))
    is_flat = late <= early * (1 + FLAT)
    reached = "reached" if most < MEMORY_GOAL_MB and is_flat else "MISSED"
    return (
        f"Goal {reached}: memory < {MEMORY_GOAL_MB} MB (most: {most:.0f}) and flat (third quarter {early:.1f} MB, last "
        f"{late:.1f} MB: {(late / early - 1) * 100:+.1f} %, at most +{FLAT * 100:.0f} %)"
    )


def _memory(note: Note) -> float:
    return note.memory_mb


def _median(figure: Figure, notes: Sequence[Note]) -> float:
    return statistics.median(map(figure, notes))


def _slope(figure: Figure, notes: Sequence[Note]) -> float:
    line = statistics.linear_regression([note.requests for note in notes], [figure(note) for note in notes])
    return line.slope * 10_000


if __name__ == "__main__":
    main()
