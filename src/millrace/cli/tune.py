"""`millrace tune`: models taught by a tenant's examples. What runs a job is in tuning.py, which imports the whole of tuning."""

import asyncio
import contextlib
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.times import render_time
from millrace.catalog.catalogue import Catalogue
from millrace.cli.output import Facts, Table, Text, cell
from millrace.cli.progress import progress
from millrace.cli.shell import Shell, command, group
from millrace.cli.tenant import TenantOption
from millrace.store.database import Database
from millrace.store.once import write_once
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants
from millrace.tenants.values import Caller, Scope
from millrace.tuning import forms
from millrace.tuning.curve import render_csv, render_plot, render_svg
from millrace.tuning.files import store as files
from millrace.tuning.files.shelf import Shelf
from millrace.tuning.files.values import StoredFile
from millrace.tuning.jobs import store
from millrace.tuning.jobs.life import Status
from millrace.tuning.jobs.values import Event, Job, StepRow, Wish
from millrace.tuning.office import Asked, Office, dashed, describe

app: Final = group("tune", "Models taught by a tenant's examples: what it costs, jobs, their progress, the worker.")

EVENTS_MAX: Final = 100_000
JOBS_MAX: Final = 1000
FOLLOW_EVERY_S: Final = 0.5
BAR: Final = 30

_SUFFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

JobArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id: ftjob-…")]
ModelOption = Annotated[str, typer.Option("--model", metavar="NAME", help="The base, by its name on offer.")]
DataOption = Annotated[Path, typer.Option("--data", metavar="FILE", help="JSON Lines, one conversation a line.")]
ValidationOption = Annotated[
    Path | None, typer.Option("--validation", metavar="FILE", help="More of them, whose loss is measured and not learned.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", metavar="N", min=1, max=50, help="How often each is read; auto.")]


@command(app, "estimate", example="millrace tune estimate --tenant demo --model millrace-tiny --data shop.jsonl")
def estimate(
    shell: Shell, tenant: TenantOption, model: ModelOption, data: DataOption, validation: ValidationOption = None,
    epochs: EpochsOption = None,
) -> None:  # fmt: skip
    """Count the tokens of a file and say what a job would cost. Nothing is started or kept."""
    with _database(shell) as db:
        office = _office(shell, db)
        caller = _caller(db, tenant)
        asked = _asked(shell, db, caller, model, data, validation, Wish(n_epochs=epochs or "auto"))
        try:
            found = asyncio.run(office.estimate(caller, asked))
        finally:
            _forget(shell, db, asked)
    form = forms.estimate_form(found.plan, found.price.id)
    lines = msgspec.to_builtins(form)
    shell.show(form, Facts([(name.replace("_", " "), cell(value)) for name, value in lines.items() if name != "object"]))


@command(app, "start", example="millrace tune start --tenant demo --model millrace-tiny --data shop.jsonl --suffix shop --wait")
def start(
    shell: Shell, tenant: TenantOption, model: ModelOption, data: DataOption, validation: ValidationOption = None,
    epochs: EpochsOption = None,
    suffix: Annotated[str, typer.Option("--suffix", metavar="S", help="A part of the tuned model's name.")] = "",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="The same makes the same model.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Train here if nobody else does, and wait for the end.")] = False,
) -> None:  # fmt: skip
    """Tune a model. The whole price is held while it runs, and billed when the model is there; otherwise nothing is.

    A running server begins at once; without one, 'millrace tune worker --once' or --wait does it.
    """
    with _database(shell) as db:
        caller = _caller(db, tenant)
        asked = _asked(
            shell, db, caller, model, data, validation, Wish(n_epochs=epochs or "auto", seed=seed, suffix=_suffix(suffix))
        )
        try:
            job = asyncio.run(_office(shell, db).create(caller, asked))
        except Refusal:
            _forget(shell, db, asked)
            raise
        if wait and not job.over:
            asyncio.run(_wait(shell, db, job))
            job = db.read(lambda tx: store.by_id(tx, job.id))
        _refuse_failed(job)
        _show(shell, db, job)


@command(app, "list", example="millrace tune list --tenant demo")
def list_(
    shell: Shell,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Only this tenant's.")] = None,
) -> None:
    """Show the jobs, newest first."""

    def look(tx: Tx) -> list[tuple[str, Job, Any]]:
        owners = tenants.tenants(tx) if tenant is None else [tenants.tenant_named(tx, tenant)]
        found = [(owner.name, job) for owner in owners for job in store.page(tx, owner.id, JOBS_MAX)]
        found.sort(key=lambda one: one[1].created_at, reverse=True)
        return [(name, job, forms.job_form(job, store.attempts(tx, job.id))) for name, job in found]

    with shell.database() as db:
        found = db.read(look)
    rows = [
        (job.id, name, job.model, job.status.value, _how_far(job), cell(job.tuned_model), render_time(job.created_at))
        for name, job, _ in found
    ]
    table = Table(
        ("JOB", "TENANT", "MODEL", "STATUS", "DONE", "TUNED MODEL", "CREATED"), rows, frozenset({4}),
        empty="There is no job yet; 'millrace tune start' makes one.",
    )  # fmt: skip
    shell.show({"jobs": [form for _, _, form in found]}, table)


@command(app, "show", example="millrace tune show ftjob-01k8zq4v7me1r9c0q2d5x6y7z8")
def show(shell: Shell, job: JobArgument) -> None:
    """Show one job with its loss curve."""
    with shell.database() as db:
        _show(shell, db, db.read(lambda tx: store.find(tx, job)))


@command(app, "events", example="millrace tune events ftjob-01k8zq4v7me1r9c0q2d5x6y7z8 --follow")
def events(
    shell: Shell, job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job is over.")] = False,
) -> None:  # fmt: skip
    """Show what happened to a job, oldest first."""
    seen: list[Event] = []
    with shell.database() as db:
        while True:
            found = db.read(lambda tx: store.find(tx, job))
            new = db.read(lambda tx: store.events_after(tx, job, seen[-1].number if seen else 0, EVENTS_MAX))  # noqa: B023
            seen += new
            if not shell.as_json:
                _print_events(shell, new)
            if not follow or found.over:
                break
            asyncio.run(shell.clock.sleep(FOLLOW_EVERY_S))
    if shell.as_json:
        shell.show({"job": job, "events": [forms.event_form(found, event) for event in seen]})


@command(app, "curve", example="millrace tune curve ftjob-01k8zq4v7me1r9c0q2d5x6y7z8 --svg loss.svg")
def curve(
    shell: Shell, job: JobArgument,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write it as a picture.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write it as numbers.")] = None,
) -> None:  # fmt: skip
    """Show the loss of a job over the tokens trained, or write it into files."""
    with shell.database() as db:
        rows = db.read(lambda tx: store.steps(tx, store.find(tx, job).id))
    points = forms.points(rows)
    written = []
    for file, text in ((svg, render_svg(points, f"Loss of {job}")), (csv, render_csv(points))):
        if file is not None:
            _write(file, text)
            written.append(str(file))
    form = {"job": job, "files": written, "points": points}
    shell.show(form, Text("\n".join(written) if written else render_plot(points)))


@command(app, "cancel", example="millrace tune cancel ftjob-01k8zq4v7me1r9c0q2d5x6y7z8")
def cancel(shell: Shell, job: JobArgument) -> None:
    """End a job. What it trained is not delivered, and nothing is billed."""
    with shell.database() as db:
        done = asyncio.run(_office(shell, db).cancel(job))
        _show(shell, db, done)


@command(app, "worker", example="millrace tune worker --once")
def worker(
    shell: Shell, once: Annotated[bool, typer.Option("--once", help="End when no job waits any more.")] = False
) -> None:
    """Take jobs and train them, until stopped. A server starts one by itself; on another machine this does, with the same home.

    Killed at any moment, another one goes on from the last checkpoint.
    """
    # Here, because training, converting and the books come with it.
    from millrace.cli.logs import log_to_stderr
    from millrace.cli.tuning import work  # as above
    from millrace.making.tuning import place_of  # as above

    log_to_stderr()
    settings = shell.settings()
    with _database(shell):
        pass
    place = place_of(shell.home_path.absolute(), settings)
    asyncio.run(work(place, until_empty=once))
    shell.show({"stopped": True}, Text("no job waits any more" if once else "stopped"))


@contextlib.contextmanager
def _database(shell: Shell) -> Any:
    """With the prices of the settings in it: a server that never ran may not have brought them there."""
    # Here, because a whole server comes with it.
    from millrace.wiring import import_prices

    prices = shell.settings().prices
    with shell.database() as db:
        write_once(db, lambda tx: import_prices(tx, prices, shell.clock.now()))
        yield db


def _office(shell: Shell, db: Database) -> Office:
    # Here, because engines and conversion come with it.
    from millrace.making.tuning import office

    settings = shell.settings()
    return office(db, shell.home_path.absolute(), settings, Catalogue(settings.models), shell.clock)


def _caller(db: Database, name: str) -> Caller:
    """The tenant with its newest key, whose budget the job counts in."""

    def look(tx: Tx) -> Caller:
        tenant = tenants.tenant_named(tx, name)
        live = [one for one in tenants.keys(tx, tenant) if one.revoked_at is None and Scope.INFERENCE in one.scopes]
        if not live:
            raise Refusal(
                Reason.NOT_FOUND, f"tenant {name!r} has no key that may spend; 'millrace key create --tenant {name}' makes one"
            )
        project = next(one for one in tenants.projects(tx, tenant) if one.id == live[-1].project_id)
        return Caller(tenant=tenant, project=project, key=live[-1])

    return db.read(look)


def _asked(
    shell: Shell, db: Database, caller: Caller, model: str, data: Path, validation: Path | None, wish: Wish
) -> Asked:
    training = _upload(shell, db, caller, data)
    held_out = None if validation is None else _upload(shell, db, caller, validation)
    return Asked(model=model, training_file=training, validation_file=held_out, wish=wish)


def _upload(shell: Shell, db: Database, caller: Caller, source: Path) -> str:
    try:
        sha256, size = Shelf(shell.home_path).add(source)
    except OSError as error:
        raise Refusal(Reason.INVALID_REQUEST, f"{source} cannot be read: {error.strerror}") from None
    file = StoredFile(
        id=dashed(shell.ids.new("file")), tenant_id=caller.tenant.id, project_id=caller.project.id, filename=source.name,
        bytes=size, sha256=sha256, created_at=shell.clock.now(),
    )  # fmt: skip
    quota = shell.settings().limits.files_bytes_max
    db.write_now(lambda tx: files.add(tx, file, quota))
    return file.id


def _forget(shell: Shell, db: Database, asked: Asked) -> None:
    """Files that no job was made with."""

    def work(tx: Tx) -> None:
        for file_id in (asked.training_file, asked.validation_file):
            if file_id is not None:
                files.delete(tx, files.of_job(tx, file_id), shell.clock.now())

    db.write_now(work)


def _suffix(text: str) -> str:
    if text and not _SUFFIX.fullmatch(text):
        raise Refusal(Reason.INVALID_REQUEST, f"--suffix: {text[:60]!r}: use at most 40 letters, digits, '-' and '_'")
    return text


async def _wait(shell: Shell, db: Database, job: Job) -> None:
    """Until the job is over, whoever does it: a server's supervisor, or ours."""
    # Here, because training, converting and the books come with it.
    from millrace.making.tuning import place_of, supervising

    settings = shell.settings()
    place = place_of(shell.home_path.absolute(), settings)
    tell = progress(shell)
    async with supervising(db, place) as supervisor:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
        working = asyncio.create_task(supervisor.run())
        try:
            while not working.done():
                now = await db.look(lambda tx: store.by_id(tx, job.id))
                tell(_bar(now))
                if now.over:
                    break
                await asyncio.wait({working}, timeout=FOLLOW_EVERY_S)
        finally:
            supervisor.stop()
            await working
            tell("")


def _bar(job: Job) -> str:
    done = 0 if job.steps == 0 else BAR * job.step // job.steps
    return f"{job.status.value:<10} [{'#' * done}{'.' * (BAR - done)}] step {job.step} of {job.steps or '?'}"


def _refuse_failed(job: Job) -> None:
    if job.status is Status.FAILED and job.fault is not None:
        said = job.fault.sentence.replace("\n", "; ")
        raise Refusal(Reason.INVALID_REQUEST, f"job {job.id} failed, and nothing was billed: {said}")


def _show(shell: Shell, db: Database, job: Job) -> None:
    def look(tx: Tx) -> tuple[Any, Sequence[StepRow]]:
        return forms.job_form(job, store.attempts(tx, job.id)), store.steps(tx, job.id)

    form, rows = db.read(look)
    facts = [
        ("job", job.id), ("model", job.model), ("status", job.status.value), ("tuned model", cell(job.tuned_model)),
        ("estimate", "-" if job.plan is None else describe(job.plan, forms.currency_of(job.price_id))),
        ("done", _how_far(job)), ("billed tokens", str(job.billed)),
        ("error", "-" if job.fault is None else job.fault.sentence), ("requests", cell(" ".join(form.request_ids))),
        ("created", render_time(job.created_at)),
        ("finished", "-" if job.finished_at is None else render_time(job.finished_at)),
    ]  # fmt: skip
    plot = [Text(""), Text(render_plot(forms.points(rows)))] if rows else []
    shell.show(form, Facts(facts), *plot)


def _how_far(job: Job) -> str:
    return f"{job.step}/{job.steps}" if job.steps else "-"


def _print_events(shell: Shell, new: list[Event]) -> None:
    if new:
        shell.show(None, Text("\n".join(f"{render_time(one.at)}  {one.level:<5}  {one.message}" for one in new)))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise Refusal(Reason.INVALID_REQUEST, f"{file} cannot be written: {error.strerror}") from None
