"""From the command's options to a report: the suite, the server, the key, the run."""

import asyncio
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.cli.announcement import address
from millrace.cli.ending import ended_by_signals
from millrace.cli.output import Table, Text, View, cell
from millrace.cli.progress import Progress as Line
from millrace.cli.shell import Shell
from millrace.client.access import Access, key_from, parse_root
from millrace.client.client import Client
from millrace.evaluation import report
from millrace.evaluation.results import Header, Result, Results, open_results
from millrace.evaluation.run import Progress, questions, run
from millrace.evaluation.suite import SUITE_BYTES_MAX, Case, Suite, parse_suite
from millrace.settings.home import default_home
from millrace.settings.parse import declared
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants
from millrace.tenants.values import Key, Scope

PROJECT: Final = "evaluation"
"""Whose keys a run with --tenant uses: usage by key then says what evaluating came to."""

CONNECT_S: Final = 3.0
"""For a first look whether anybody is there."""

FAILURES_SHOWN: Final = 5

_HEADINGS: Final = (
    "GROUP", "CASES", "ANSWERS", "PASSED", "SHARE", "95 % INTERVAL", "INPUT", "OUTPUT", "AMOUNT", "CURRENCY", "MEDIAN MS",
)  # fmt: skip
_COMPARED: Final = ("GROUP", "CASES", "BETTER", "WORSE", "POINTS", "95 % INTERVAL", "P")


class Wanted(Struct, frozen=True, kw_only=True):
    """The command's options."""

    models: tuple[str, ...]
    suite: Path
    url: str | None
    tenant: str | None
    parallel: int
    seed: int | None
    temperature: float | None
    repeat: int
    out: Path | None
    limit: int | None


class Told(NamedTuple):
    """What a run comes to, for programs and for people."""

    form: dict[str, Any]
    rows: dict[str, list[report.Row]]
    compared: list[report.Versus]
    failures: list[Result]

    @property
    def share(self) -> float:
        """Of the first model, over all cases."""
        return next(iter(self.rows.values()))[0].share.share

    def views(self, *, verbose: bool) -> list[View]:
        """A table for each model, the comparison, and what did not pass."""
        shown: list[View] = []
        for model, rows in self.rows.items():
            shown += [Text(f"\n{model}"), Table(_HEADINGS, [_cells(row) for row in rows], frozenset({*range(1, 9), 10}))]
        if self.compared:
            first, second = self.rows
            shown += [
                Text(f"\n{second} against {first}"),
                Table(_COMPARED, [_difference(one) for one in self.compared], frozenset(range(1, 7))),
                Text(report.verdict(first, second, self.compared[0].difference)),
            ]
        return shown + list(_failed(self.failures, verbose=verbose))


def evaluate_models(shell: Shell, wanted: Wanted) -> Told:
    """Run what is wanted. A refusal leaves the results that were written, and no key."""
    suite = _suite(wanted.suite)
    cases = suite.cases[: wanted.limit]
    root = parse_root(wanted.url) if wanted.url else _own_address(shell)
    _refuse_nobody(root, shell)
    header = Header(
        run=shell.ids.new("eval"), suite=suite.sha256, models=wanted.models, temperature=wanted.temperature, seed=wanted.seed
    )
    key = nullcontext(key_from(os.environ)) if wanted.tenant is None else _borrowed_key(shell, wanted.tenant, wanted.models)
    with ended_by_signals(), open_results(wanted.out, header) as results, key as secret, Line(sys.stderr) as line:
        tell = _teller(line, shell)
        found = asyncio.run(_run(shell, Access(root, secret), cases, wanted, results, tell))
    return _told(wanted, suite, cases, found)


async def _run(
    shell: Shell, access: Access, cases: Sequence[Case], wanted: Wanted, results: Results, tell: Callable[[Progress], None]
) -> list[Result]:
    async with Client(access, clock=shell.clock) as client:
        offered = {model.id: model for model in await client.models()}
        for model in wanted.models:
            if model not in offered:
                raise Refusal(
                    Reason.MODEL_NOT_FOUND,
                    f"{model!r} is not on offer to this key; there is: {report.shown(', '.join(offered)) or 'nothing'}",
                )
        asked = questions(cases, [offered[model] for model in wanted.models], wanted.repeat)
        try:
            return await run(client, asked, results, parallel=wanted.parallel, tell=tell)
        except Refusal as refusal:
            hint = f"; {len(results.all)} results are in {wanted.out}: the same command goes on there" if wanted.out else ""
            raise Refusal(refusal.reason, f"the run was stopped: {refusal.sentence}{hint}") from refusal


def _suite(path: Path) -> Suite:
    try:
        with path.open("rb") as file:
            return parse_suite(file.read(SUITE_BYTES_MAX + 1), path.name)
    except OSError as error:
        raise Refusal(Reason.INVALID_REQUEST, f"--suite: {path} cannot be read: {error.strerror}") from None


def _own_address(shell: Shell) -> str:
    server = declared(shell.home_path, shell.config).server
    if server.port == 0:
        raise Refusal(Reason.INVALID_REQUEST, "the settings let the server take any port; say with --url which one it took")
    return address(server.host, server.port)


def _refuse_nobody(root: str, shell: Shell) -> None:
    parts = urlsplit(root)
    assert parts.hostname is not None
    try:
        socket.create_connection((parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]), CONNECT_S).close()
    except OSError:
        home = "" if shell.home_path == default_home(os.environ) else f" --home {shlex.quote(str(shell.home_path))}"
        raise Refusal(
            Reason.ENGINE_UNAVAILABLE,
            f"no server answers at {root}; start one with 'millrace up{home}', or name another with --url",
        ) from None


@contextmanager
def _borrowed_key(shell: Shell, tenant: str, models: Sequence[str]) -> Iterator[str]:
    """A key that opens these models until the block is left, however it is left. Its secret is nowhere but in this process: one
    that is killed outright leaves a key that nobody knows."""

    def make(tx: Tx) -> tuple[Key, str]:
        now = shell.clock.now()
        project = tenants.find_or_create_project(
            tx, shell.ids, now, tenant=tenants.tenant_named(tx, tenant), name=PROJECT
        )
        key, secret = tenants.create_key(
            tx, shell.ids, now, project=project, scopes=frozenset({Scope.INFERENCE, Scope.READ}), models=models
        )
        return key, str(secret)

    with shell.database() as db:
        key, secret = db.write_now(make)
    try:
        yield secret
    finally:
        with shell.database() as db:
            db.write_now(
                lambda tx: tenants.revoke(tx, shell.clock.now(), key_id=key.id, reason="its evaluation has ended")
            )


def _teller(line: Line, shell: Shell) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        if not shell.as_json:
            line.tell(f"{progress.done:,} of {progress.total:,} answers, {progress.passed:,} passed")

    return tell


def _told(wanted: Wanted, suite: Suite, cases: Sequence[Case], results: list[Result]) -> Told:
    rows = {model: report.rows(cases, results, model) for model in wanted.models}
    compared = report.versus(cases, results, *wanted.models) if len(wanted.models) > 1 else []
    failures = [result for result in results if not result.passed]
    form = {
        "suite": {"name": wanted.suite.name, "sha256": suite.sha256, "cases": len(cases)},
        "models": [{"model": model, "groups": [report.row_form(row) for row in own]} for model, own in rows.items()],
        "comparison": None if not compared else {
            "first": wanted.models[0], "second": wanted.models[1], "groups": [report.versus_form(one) for one in compared],
            "verdict": report.verdict(wanted.models[0], wanted.models[1], compared[0].difference),
        },
        "failures": [report.failure_form(result) for result in failures],
    }  # fmt: skip
    return Told(form, rows, compared, failures)


def _cells(row: report.Row) -> tuple[str, ...]:
    share = row.share
    latency = None if row.latency_ms is None else f"{row.latency_ms:.0f}"
    return (
        row.group, str(row.cases), str(row.answers), str(row.passed), f"{share.share:.1%}",
        f"{share.low:.1%} to {share.high:.1%}", str(row.input_tokens), str(row.output_tokens), render_amount(row.amount_nano),
        cell(row.currency), cell(latency),
    )  # fmt: skip


def _difference(one: report.Versus) -> tuple[str, ...]:
    found = one.difference
    points, low, high = (f"{100 * value:+.1f}" for value in (found.difference, found.low, found.high))
    return (one.group, str(found.cases), str(found.better), str(found.worse), points, f"{low} to {high}", f"{found.p:.4f}")


def _failed(failures: Sequence[Result], *, verbose: bool) -> Iterator[View]:
    """What was missed and what was said, as texts that a terminal takes for nothing else."""
    most = len(failures) if verbose else FAILURES_SHOWN
    for result in failures[:most]:
        yield Text(
            f"\nnot passed: {report.shown(result.case)} ({result.model})\n  {report.shown(result.why)}\n"
            f"  said: {report.shown(report.said(result)) or '(nothing)'}"
        )
    if len(failures) > most:
        yield Text(f"\n… and {len(failures) - most} more; --verbose shows them all")
