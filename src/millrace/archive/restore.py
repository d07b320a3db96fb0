"""An archive into a home that is not there yet: built beside its place and renamed into it, so that no half of it is ever seen.

The rows go into an empty database in one transaction, which is as good where the database does not lie in the home: a kill
leaves it empty. The tables are made as they were when the archive was, then brought to this program's version.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from millrace.archive import store
from millrace.archive.manifest import Manifest, Part, TablePart, damaged
from millrace.archive.read import Archive, Progress
from millrace.base.errors import Reason, Refusal
from millrace.settings.home import Home
from millrace.settings.parse import FILE_NAME
from millrace.store import migrations as migrating
from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.tables import checked_at_the_end, count_on, is_empty
from millrace.store.transaction import Conflict, Tx

_FILE: Final = re.compile(
    r"files/(millrace\.toml|journal/(home|[0-9-]+\.journal)|adapters/[0-9a-f]{64}\.gguf|files/[0-9a-f]{64})"
)

OpenEmpty = Callable[[Path], tuple[Database, Sequence[Migration]]]
"""The database that the settings in a home name, not migrated, and the migrations of its make."""


def restore_archive(
    archive: Archive, home: Path, open_empty: OpenEmpty, *, settings: Path | None, progress: Progress
) -> Manifest:
    """Everything of the archive into a new home, or nothing. `settings` takes the place of those in the archive."""
    _refuse_occupied(home)
    archive.verify(progress)
    beside = home.with_name(f".{home.name}.restoring")
    with Home(beside).occupy():
        try:
            _clear(beside)
            _files(archive, beside, settings)
            _rows(archive, beside, open_empty, progress)
            _sync(beside)
            beside.rename(home)
        except BaseException:
            shutil.rmtree(beside)
            raise
    _sync_folder(home.parent)
    return archive.manifest


def _refuse_occupied(home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Refusal(Reason.CONFLICT, f"{home} is not empty; name a new folder with --home")


def _clear(beside: Path) -> None:
    """What an earlier restore left when it was killed."""
    for path in beside.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".lock":
            path.unlink()


def _files(archive: Archive, beside: Path, settings: Path | None) -> None:
    for part in archive.manifest.files:
        if _FILE.fullmatch(part.member) is None:
            raise damaged(archive.called, f"it has the unknown part {part.member[:80]!r}")
        target = beside / part.member.removeprefix("files/")
        if settings is None or target.name != FILE_NAME:
            _write(archive, part, target)
    if settings is not None:
        try:
            (beside / FILE_NAME).write_bytes(settings.read_bytes())
        except OSError as error:
            raise Refusal(Reason.BAD_SETTING, f"the settings {settings} cannot be read: {error.strerror}") from error


def _write(archive: Archive, part: Part, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with target.open("wb") as file:
        for block in archive.blocks(part):
            file.write(block)


def _rows(archive: Archive, beside: Path, open_empty: OpenEmpty, progress: Progress) -> None:
    db, known = open_empty(beside)
    with contextlib.closing(db):
        if archive.manifest.schema > len(known):
            raise Refusal(
                Reason.CONFLICT,
                f"{archive.called} was made by a newer Millrace ({archive.manifest.made_by}, schema {archive.manifest.schema}; "
                f"this one knows {len(known)}); restore it with that version",
            )
        db.write_now(lambda tx: _load(tx, archive, known, progress))


def _load(tx: Tx, archive: Archive, known: Sequence[Migration], progress: Progress) -> None:
    if not is_empty(tx):
        raise Refusal(
            Reason.CONFLICT,
            "the database that the settings name has rows already; empty it, or name another in a settings file and give "
            "that with --config",
        )
    migrating.apply(tx, list(known[: archive.manifest.schema]))
    try:
        with checked_at_the_end(tx):
            for table in archive.manifest.tables:
                _add(tx, archive, table, progress)
    except Conflict as error:
        raise damaged(archive.called, f"its rows contradict each other: {error}") from None
    count_on(tx)
    migrating.apply(tx, list(known))
    store.end_leases(tx)


def _add(tx: Tx, archive: Archive, table: TablePart, progress: Progress) -> None:
    count = 0
    for page in archive.pages(table):
        tx.insert(table.table, [column.name for column in table.columns], page)
        count += len(page)
        progress(f"{table.table}: {count:,} of {table.rows:,} rows")


def _sync(folder: Path) -> None:
    """Everything in it on the disk, so that the name, when it is there, has all that it stands for."""
    for path in folder.rglob("*"):
        _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
