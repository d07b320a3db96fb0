"""`millrace export` and `millrace retention`: usage as Parquet files, and rows that are deleted once they are in one."""

from typing import Any, Final

import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import render_time
from millrace.cli.output import Table, Text, cell
from millrace.cli.progress import progress
from millrace.cli.shell import Shell, command, group, refuse
from millrace.money.retention import store
from millrace.money.retention.exporter import Exporter
from millrace.money.retention.keeper import Dropped, Keeper
from millrace.money.retention.values import Export
from millrace.money.rollups.roller import Roller
from millrace.settings.parse import declared
from millrace.store.database import Database

exports: Final = group("export", "Usage as Parquet files: each request in one of them, none in two.")
retention: Final = group("retention", "How long usage is kept: what [retention] of millrace.toml says.")


@command(exports, "run", example="millrace export run")
def run(shell: Shell) -> None:
    """Write all usage that is in no file yet, while the server runs or not. With nothing new it writes nothing."""
    with shell.database() as db:
        made = _exporter(shell, db).run(Roller(db).roll(), shell.clock.now(), progress(shell))
    progress(shell)("")
    shell.show({"exports": [export_form(one) for one in made]}, exports_table(made, empty="There is no new usage."))


@command(exports, "list", example="millrace export list")
def list_(shell: Shell) -> None:
    """Show every file and what is in it."""
    with shell.database() as db:
        found = db.read(store.exports)
    shell.show({"exports": [export_form(one) for one in found]}, exports_table(found, empty="Nothing was exported yet."))


@command(exports, "verify", example="millrace export verify")
def verify(shell: Shell) -> None:
    """Read every file again and compare it with what was recorded when it was written; exit 1 names the first that differs."""
    with shell.database() as db:
        exporter, found = _exporter(shell, db), db.read(store.exports)
        wrong = {one.file: why for one in found if (why := exporter.verify(one)) is not None}
    form = {"ok": not wrong, "checked": len(found), "disagreements": wrong}
    shell.show(form, Text(f"{len(found) - len(wrong)} of {len(found)} files are as they were written."))
    if wrong:
        refuse(next(iter(wrong.values())))


@command(retention, "run", example="millrace retention run")
def run_retention(shell: Shell) -> None:
    """Export usage, then delete what is older than `usage_days`.

    Only whole files' rows go: rolled up, settled, of months that are over, and only after the file was read again. The server
    does the same once a day.
    """
    days = declared(shell.home_path, shell.config).retention.usage_days
    if days is None:
        raise Refusal(
            Reason.INVALID_REQUEST,
            "usage is kept for ever; to delete it when it is old enough set usage_days under [retention] in millrace.toml",
        )
    with shell.database() as db:
        exporter, now = _exporter(shell, db), shell.clock.now()
        exporter.run(Roller(db).roll(), now, progress(shell))
        dropped = Keeper(db, exporter).run(days, now, progress(shell))
    progress(shell)("")
    shell.show(dropped_form(dropped), Text(dropped_text(dropped)))


def _exporter(shell: Shell, db: Database) -> Exporter:
    return Exporter(db, declared(shell.home_path, shell.config).retention.place(shell.home_path))


def export_form(one: Export) -> dict[str, Any]:
    return {
        "file": one.file,
        "seq_lo": one.seq_lo,
        "seq_hi": one.seq_hi,
        "requests": one.requests,
        "tokens": one.tokens,
        "waived": one.waived,
        "amounts": {currency: render_amount(amount) for currency, amount in one.amounts},
        "finished_from": render_time(one.finished_lo),
        "finished_to": render_time(one.finished_hi),
        "bytes": one.size,
        "sha256": one.sha256,
        "exported_at": render_time(one.exported_at),
    }


def exports_table(found: list[Export], *, empty: str) -> Table:
    rows = [
        (
            one.file, str(one.requests), str(one.tokens),
            cell(", ".join(f"{render_amount(amount)} {currency}" for currency, amount in one.amounts)),
            render_time(one.finished_lo)[:10], render_time(one.finished_hi)[:10], str(one.size),
        )
        for one in found
    ]  # fmt: skip
    return Table(("FILE", "REQUESTS", "TOKENS", "AMOUNT", "FROM", "TO", "BYTES"), rows, frozenset({1, 2, 3, 6}), empty=empty)


def dropped_form(dropped: Dropped) -> dict[str, Any]:
    kept = None if dropped.kept is None else {"file": dropped.kept.export.file, "why": dropped.kept.why}
    return {"requests": dropped.requests, "files": [one.file for one in dropped.exports], "kept": kept}


def dropped_text(dropped: Dropped) -> str:
    said = f"{dropped.requests} requests were deleted; they are in {len(dropped.exports)} files."
    if dropped.kept is not None:
        said += f"\n{dropped.kept.export.file} is old enough and was kept: {dropped.kept.why}."
    return said


def register(app: typer.Typer) -> None:
    app.add_typer(exports)
    app.add_typer(retention)
