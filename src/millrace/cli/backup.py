"""`millrace backup` and `millrace restore`: all that is durable of a cloud in one file, and a cloud out of that file."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace import schema
from millrace.archive.manifest import Manifest, digest
from millrace.archive.read import Archive
from millrace.archive.restore import restore_archive
from millrace.archive.write import write_archive
from millrace.base.errors import Reason, Refusal
from millrace.base.times import render_time
from millrace.cli import place
from millrace.cli.books import audit_form
from millrace.cli.hub import depot_of
from millrace.cli.output import Facts
from millrace.cli.progress import progress
from millrace.cli.shell import Shell, command, refuse
from millrace.money.audit.check import Check
from millrace.money.audit.run import audit
from millrace.settings.parse import FILE_NAME
from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.transaction import Tx


def register(app: typer.Typer) -> None:
    command(app, "backup", example="millrace backup ~/backups")(backup)
    command(app, "restore", example="millrace restore ~/backups/millrace-20261123T181200Z.zip --home ~/restored")(restore)


def backup(
    shell: Shell,
    target: Annotated[
        Path, typer.Argument(metavar="FILE|DIR", help="A file that is not there yet, or a folder, which gets one.")
    ],
    audited: Annotated[
        bool, typer.Option("--audit", help="Audit the books as they are in the backup; exit 1 where they do not agree.")
    ] = False,
) -> None:
    """Write everything durable into one file and check it, while the server runs or not.

    The file has the books, the settings and the progress journal. It has no secret but what the settings hold; API keys are
    in it as hashes. Answers that are kept for Idempotency-Key are in it too: guard it as you guard the home.
    """
    now = shell.clock.now()
    file = target.expanduser()
    if file.is_dir():
        file /= f"millrace-{_stamp(now)}.zip"
    checks: list[Check] = []

    def look(tx: Tx) -> None:
        if audited:
            checks.extend(audit(tx))

    with shell.database() as db:
        manifest = write_archive(
            db, shell.home_path, file, settings=shell.config or shell.home_path / FILE_NAME, now=now,
            progress=progress(shell), look=look,
        )  # fmt: skip
    _show(shell, file, manifest, checks)


def restore(
    shell: Shell,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `millrace backup` wrote, of either database.")],
) -> None:
    """Make a new home of a backup, all of it or nothing, and audit its books.

    The home must be empty or not there, and so must be the database that its settings name. With --config the home gets that
    file instead of the backup's settings: so books move from SQLite to PostgreSQL, and back.
    """
    if shell.given_home is None:
        raise Refusal(Reason.INVALID_REQUEST, "name the new home with --home", param="home")
    with Archive(file.expanduser()) as archive:
        manifest = restore_archive(
            archive, shell.home_path.absolute(), _open_empty, settings=shell.config, progress=progress(shell)
        )
    progress(shell)("auditing")
    with contextlib.closing(place.open_database(shell.home_path, None, make=False)) as db:
        checks = db.read(audit)
        lost = depot_of(shell, db).lost()
    if lost and not shell.as_json:
        print(f"millrace: {_lost_text(len(lost), sum(lost.values()))}", file=sys.stderr)  # noqa: T201
    _show(shell, file, manifest, checks, {"hub_missing": {"files": len(lost), "bytes": sum(lost.values())}})


def _lost_text(files: int, size: int) -> str:
    return (
        f"{files} files of published models ({size} bytes) are not in backups: copy hub/blobs of the old home into this one, "
        "or have their tenants push again"
    )


def _open_empty(home: Path) -> tuple[Database, Sequence[Migration]]:
    db = schema.connect(place.database_place(home, None))
    return db, schema.migrations(db.dialect)


def _stamp(now: int) -> str:
    """'20261123T181200Z'."""
    return render_time(now)[:19].replace("-", "").replace(":", "") + "Z"


def _show(
    shell: Shell, file: Path, manifest: Manifest, checks: Sequence[Check], more: Mapping[str, Any] | None = None
) -> None:
    """What is in the file, and what the audit said; exit 1 where the books do not agree."""
    progress(shell)("")
    failed = next((check for check in checks if not check.ok), None)
    shell.show({**backup_form(file, manifest, checks), **(more or {})}, backup_facts(file, manifest, checks))
    if failed is not None:
        refuse(f"the books do not agree: {failed.name}: {failed.detail}")


def backup_form(file: Path, manifest: Manifest, checks: Sequence[Check]) -> dict[str, Any]:
    return {
        "file": str(file),
        "sha256": digest(manifest),
        "made_at": manifest.made_at,
        "schema": manifest.schema,
        "rows": manifest.rows,
        "tables": {table.table: table.rows for table in manifest.tables},
        "files": [part.member.removeprefix("files/") for part in manifest.files],
        "chains": manifest.chains,
        "audit": audit_form(checks) if checks else None,
    }


def backup_facts(file: Path, manifest: Manifest, checks: Sequence[Check]) -> Facts:
    failed = sum(not check.ok for check in checks)
    audited = f"{failed} of {len(checks)} invariants do not hold" if failed else f"all {len(checks)} invariants hold"
    return Facts(
        (
            ("file", str(file)), ("sha256", digest(manifest)), ("made at", manifest.made_at), ("schema", str(manifest.schema)),
            ("rows", f"{manifest.rows} in {len(manifest.tables)} tables"), ("files", str(len(manifest.files))),
            ("audit", audited if checks else "not asked for (--audit)"),
        )
    )  # fmt: skip
