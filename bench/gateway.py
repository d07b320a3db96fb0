"""The gateway beside others: `python -m bench.gateway`, `--streams` for paced streams, `--profile` for where its time goes.

One worker of each system on one core; upstream and load on the rest. Millrace checks keys, keeps limits and has its books
on, durable before the first byte; it writes no line for each request unless --logs says so. The bare pass-through has a key
check and nothing else, LiteLLM a master key and no database, Portkey not even a key. The systems run in turns (A B C A B C …),
the others paused; figures are medians over the rounds, with the least and the most, and a ratio is the median of the rounds'
ratios. `direct` is the upstream without a gateway.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import latency, load, paced, peers, profile_gateway
from bench.latency import Pair, Times, percentile
from bench.load import Rate
from bench.paced import Paced
from bench.processes import end_on_signal
from bench.report import Conditions, Table, append, median, show, spread
from bench.systems import (
    AGAINST,
    DIRECT,
    LITELLM,
    MILLRACE,
    ON_POSTGRESQL,
    PASS_THROUGH,
    PORTKEY,
    TOKENS,
    WITH_WORKERS,
    System,
    audit,
    cores,
    home_of,
    systems,
)


class Kind(NamedTuple):
    """What is asked for."""

    title: str
    model: str
    stream: bool
    callers: int = 1
    """By how much the callers are multiplied: streams that wait for their tokens take more of them to fill a core."""


WHOLE: Final = Kind("requests/s", "instant", stream=False)
AT_ONCE: Final = Kind(f"streams/s, {TOKENS} chunks at once", "instant", stream=True)
SPACED: Final = Kind(f"streams/s, {TOKENS} chunks 1 ms apart", "spaced", stream=True, callers=4)
KINDS: Final = (WHOLE, AT_ONCE, SPACED)

GOALS: Final = {PASS_THROUGH: 0.6, LITELLM: 30.0, PORTKEY: 2.0}
"""Of design.md: Millrace's requests/s over those of each."""

EVERYBODY: Final = (MILLRACE, ON_POSTGRESQL, WITH_WORKERS, AGAINST, PASS_THROUGH, PORTKEY, LITELLM)

LATENCY_GOAL_MS: Final = {50.0: 1.0, 99.0: 2.0}
STREAMS: Final = (128, 256, 512)
FIRST_TOKEN_GOAL_MS: Final = 20.0
GAP_GOAL_MS: Final = 50.0

Rates = dict[tuple[Kind, str], list[Rate]]
Latencies = dict[tuple[Kind, str], Pair]
PacedRounds = dict[tuple[int, str], list[Paced]]


class Options(NamedTuple):
    seconds: float
    rounds: int
    callers: int
    systems: tuple[str, ...]
    concurrency: tuple[int, ...]
    streams: bool
    profile: bool
    log: bool
    litellm: str
    against: Path | None
    workers: int
    logs: bool


def main(arguments: Sequence[str] | None = None) -> None:
    end_on_signal()
    options = _options(arguments)
    conditions = Conditions.now()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        if options.profile:
            title, tables, remarks = "where the gateway's time goes", *profile_gateway.profiled(folder, options.seconds)
        elif options.streams:
            title, tables, remarks = "paced streams through the gateway", *_paced(options, folder)
        else:
            title, tables, remarks = "gateway beside others", *_compared(options, folder)
    show(conditions, tables, remarks)
    if options.log:
        append(title, conditions, tables, remarks)


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement; 3 is a quick look (default 10)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each system has its turn (default 3)")
    parser.add_argument("--callers", type=int, default=32, help="at once, where the most is looked for (default 32)")
    parser.add_argument(
        "--without", action="append", default=[], choices=[PASS_THROUGH, LITELLM, PORTKEY], help="leave a system out"
    )
    parser.add_argument(
        "--store", default="sqlite", choices=["sqlite", "postgresql"], help="postgresql: Millrace on that, too"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="Millrace with so many on all cores, too")
    parser.add_argument("--logs", action="store_true", help="with a line for each request, as Millrace writes by default")
    parser.add_argument("--streams", action="store_true", help="paced streams, 20 ms a token, instead")
    parser.add_argument(
        "--concurrency", type=int, nargs="+", default=list(STREAMS), metavar="N", help="with --streams: how many at once"
    )
    parser.add_argument("--profile", action="store_true", help="sample where Millrace's processor time goes, instead")
    parser.add_argument("--litellm", default=peers.LITELLM, metavar="VERSION", help=f"its release (default {peers.LITELLM})")
    parser.add_argument(
        "--against", type=Path, metavar="SRC", help="the src folder of another checkout, measured beside as 'other millrace'"
    )
    parser.add_argument("--log", action="store_true", help="append the result to docs/LOG.md")
    given = parser.parse_args(arguments)
    left_out = {*given.without, *([LITELLM, PORTKEY] if given.streams else [])}
    wanted = {AGAINST: given.against is not None, ON_POSTGRESQL: given.store == "postgresql", WITH_WORKERS: given.workers > 1}
    left_out |= {name for name, asked in wanted.items() if not asked}
    return Options(
        seconds=given.seconds, rounds=given.rounds, callers=given.callers,
        systems=tuple(name for name in EVERYBODY if name not in left_out),
        concurrency=tuple(given.concurrency), streams=given.streams, profile=given.profile, log=given.log,
        litellm=given.litellm, against=given.against, workers=given.workers, logs=given.logs,
    )  # fmt: skip


def _compared(options: Options, folder: Path) -> tuple[list[Table], list[str]]:
    rates: Rates = {}
    latencies: Latencies = {}
    where = cores()
    with systems(
        options.systems, folder, where, litellm_version=options.litellm, against=options.against, workers=options.workers,
        logs=options.logs,
    ) as (direct, *gateways):  # fmt: skip
        memory = _memory(gateways)
        for turn in range(options.rounds):
            for kind in KINDS:
                for system in _able(kind, (direct, *gateways)):
                    _say(f"round {turn + 1} of {options.rounds}: {kind.title}, {system.name}")
                    with system.awake():
                        if turn == 0:
                            _rate(system, kind, options, 1.0, folder, where.others)
                        rates.setdefault((kind, system.name), []).append(
                            _rate(system, kind, options, options.seconds, folder, where.others)
                        )
            for kind in (WHOLE, SPACED):
                for system in _able(kind, gateways):
                    _say(f"round {turn + 1} of {options.rounds}: one caller, {system.name}")
                    with system.awake():
                        pair = latencies.setdefault((kind, system.name), Pair(Times(), Times()))
                        one = latency.added(system, direct, kind.model, stream=kind.stream, seconds=options.seconds / 2)
                        pair.direct.add(one.direct)
                        pair.through.add(one.through)
        after = _memory(gateways)
        audits = _audits(gateways, folder)
    remarks = [_remark_on_load(options), *audits]
    remarks += [f"Memory of {name}: {before:.0f} MB before, {after[name]:.0f} MB after" for name, before in memory.items()]
    remarks += _failures({f"{kind.title}, {name}": sum(rate.failed for rate in some) for (kind, name), some in rates.items()})
    return [*_ratio_tables(rates, options), _latency_table(latencies, options)], remarks


def _able(kind: Kind, several: Sequence[System]) -> list[System]:
    """Portkey's process on Node answers streams with an error (1.15.2: `TypeError: immutable`), so it is not asked for them."""
    return [system for system in several if not (kind.stream and system.name == PORTKEY)]


def _rate(system: System, kind: Kind, options: Options, seconds: float, folder: Path, others: Sequence[int]) -> Rate:
    callers = options.callers * (1 if system.name == LITELLM else kind.callers)
    return load.saturate(system, kind.model, stream=kind.stream, callers=callers, seconds=seconds, folder=folder, cores=others)


def _ratio_tables(rates: Rates, options: Options) -> list[Table]:
    """Ratios first: they are what holds on another machine."""
    peers_here = [name for name in options.systems if name != MILLRACE]
    ratios = [
        [kind.title, *(_ratio(rates, kind, name) for name in peers_here)] for kind in KINDS
    ] + [["goal (requests/s)", *(f"≥ {GOALS[name]:g}" if name in GOALS else "" for name in peers_here)]]  # fmt: skip
    absolute = [
        [kind.title, *(_spread([rate.per_s for rate in rates.get((kind, name), [])]) for name in (DIRECT, *options.systems))]
        for kind in KINDS
    ]
    used = [
        [kind.title, *(_spread([rate.cpu_us for rate in rates.get((kind, name), [])]) for name in options.systems)]
        for kind in KINDS
    ]
    callers = f"{options.callers} callers, {options.callers * SPACED.callers} of spaced streams (LiteLLM: {options.callers})"
    return [
        Table("Millrace ÷ other, in the same round", ["", *(f"÷ {name}" for name in peers_here)], ratios),
        Table(f"Answers a second; {callers}", ["", DIRECT, *options.systems], absolute),
        Table("Processor time of one answer, µs", ["", *options.systems], used),
    ]


def _ratio(rates: Rates, kind: Kind, name: str) -> str:
    turns = zip(rates[kind, MILLRACE], rates.get((kind, name), []), strict=False)
    return _spread([ours.per_s / max(theirs.per_s, 1e-9) for ours, theirs in turns], 2)


def _spread(values: Sequence[float], digits: int = 0) -> str:
    return spread(values, digits) if values else "-"


def _latency_table(latencies: Latencies, options: Options) -> Table:
    """Added at one caller: a percentile through, less the same percentile straight."""
    rows = []
    for kind, what, title in ((WHOLE, "whole", "whole answer"), (SPACED, "first", "first token of a stream")):
        for percent, goal in LATENCY_GOAL_MS.items():
            pairs = [latencies.get((kind, name)) for name in options.systems]
            added = ["-" if pair is None else f"{pair.added_ms(what, percent):.2f}" for pair in pairs]
            rows.append([f"{title}, p{percent:g}", *added, f"≤ {goal:g}"])
    return Table(
        "Added latency at one caller, ms", ["", *options.systems, "goal"], rows,
        f"{_count(latencies, MILLRACE)} pairs of requests to Millrace, each straight and through in turn.",
    )  # fmt: skip


def _count(latencies: Latencies, name: str) -> int:
    return sum(len(pair.through.whole) for (_, of), pair in latencies.items() if of == name)


def _paced(options: Options, folder: Path) -> tuple[list[Table], list[str]]:
    rounds: PacedRounds = {}
    with systems(
        options.systems, folder, cores(), against=options.against, workers=options.workers, logs=options.logs
    ) as (direct, *gateways):  # fmt: skip
        for turn in range(options.rounds):
            for streams in options.concurrency:
                for system in (direct, *gateways):
                    _say(f"round {turn + 1} of {options.rounds}: {streams} streams, {system.name}")
                    with system.awake():
                        rounds.setdefault((streams, system.name), []).append(paced.measure(system, streams, options.seconds))
        audits = _audits(gateways, folder)
    names = (DIRECT, *options.systems)
    rows = [_paced_row(rounds, streams, name) for streams in options.concurrency for name in names]
    rows.append(["goal, 512 streams", "", f"≤ {FIRST_TOKEN_GOAL_MS:g}", f"≤ {GAP_GOAL_MS:g}", "", ""])
    headings = ["streams, system", "TTFT p50, ms", "added TTFT p99, ms", "worst gap, ms (p99)", "chunks/s", "µs CPU a chunk"]
    table = Table(
        "Paced streams, a token every 20 ms", headings, rows,
        "TTFT: time to the first token; direct: the upstream's own. A gap of 20 ms is the pace itself. "
        "Added: the p99 less that of direct in the same round. Worst gap: of all, and the p99 of the streams' worst.",
    )  # fmt: skip
    remarks = [_remark_on_load(options, client="own client"), *audits]
    failures = {f"{streams} streams, {name}": sum(one.failed for one in some) for (streams, name), some in rounds.items()}
    return [table], remarks + _failures(failures)


def _paced_row(rounds: PacedRounds, streams: int, name: str) -> list[str]:
    ours, straight = rounds[streams, name], rounds[streams, DIRECT]
    turns = zip(ours, straight, strict=True)
    p99_added = [(percentile(one.first, 99) - percentile(base.first, 99)) * 1000 for one, base in turns]
    worst = max(max(one.worst_gaps) for one in ours) * 1000
    usual = median([percentile(one.worst_gaps, 99) for one in ours]) * 1000
    return [
        f"{streams}, {name}",
        spread([percentile(one.first, 50) * 1000 for one in ours], 1),
        "0" if name == DIRECT else spread(p99_added, 1),
        f"{worst:.1f} ({usual:.1f})",
        f"{median([one.chunks_per_s for one in ours]):,.0f}",
        "-" if name == DIRECT else f"{median([one.cpu_per_chunk_us for one in ours]):.1f}",
    ]


def _audits(gateways: Sequence[System], folder: Path) -> list[str]:
    """Of servers that have ended, while the databases are there; another checkout's books are its own affair."""
    said = []
    for system in gateways:
        if system.child is not None and system.name in (MILLRACE, ON_POSTGRESQL, WITH_WORKERS):
            system.child.stop()
            said.append(f"{system.name}: {audit(home_of(folder, system.name))}")
    return said


def _memory(gateways: Sequence[System]) -> dict[str, float]:
    return {system.name: system.child.memory_mb() for system in gateways if system.child is not None}


def _remark_on_load(options: Options, client: str | None = None) -> str:
    where = cores()
    others = ", ".join(map(str, where.others))
    lines = "with" if options.logs else "without"
    several = f" (of {options.workers} workers: on all cores)" if options.workers > 1 else ""
    return (
        f"{options.rounds} rounds of {options.seconds:g} s; gateway alone on core {where.gateway}{several}, upstream and load "
        f"({client or load.generator()}) on core {others}; Millrace {lines} a line for each request in its log; "
        f"LiteLLM {options.litellm}, Portkey {peers.PORTKEY}"
    )


def _failures(counts: dict[str, int]) -> list[str]:
    return [f"FAILED: {count} answers of {name}" for name, count in counts.items() if count]


def _say(what: str) -> None:
    if os.isatty(2):
        os.write(2, f"\r\033[K{what}".encode())


if __name__ == "__main__":
    main()
