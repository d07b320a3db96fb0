"""Writes usage out, a range after the other, so that no row is in two files and none is in none.

The file is written under another name, read back, brought to the disk and renamed; then its manifest row commits, which is also
the cursor: the next range begins behind it. A crash before the commit leaves a file without a row, which the next run replaces:
it begins at the same place, and where a range begins is its file's name.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.money.retention import parquet, store
from millrace.money.retention.store import Range
from millrace.money.retention.values import Export, Row, disagreement, export_of
from millrace.store.database import Database

RANGE_ROWS: Final = 500_000
"""Rows in a file: some 20 MB, and 300 MB of the disk while it is made."""

PAGE_ROWS: Final = 10_000

Progress = Callable[[str], None]
"""Told in a few words how far it is."""


class Exporter:
    """Of one database into one folder. Raises BAD_SETTING where duckdb is missing or the folder cannot be written."""

    def __init__(self, db: Database, folder: Path, *, range_rows: int = RANGE_ROWS) -> None:
        parquet.check()
        self._db = db
        self._folder = folder
        self._range_rows = range_rows

    def run(self, closed: int, now: int, progress: Progress) -> list[Export]:
        """Export all rows up to `closed` that are in no file yet. Blocks. Another run on the folder ends first."""
        made = []
        with self._alone():
            while span := self._db.read(lambda tx: store.next_range(tx, closed, self._range_rows)):
                made.append(self._export(span, now, progress))
        return made

    def verify(self, export: Export) -> str | None:
        """What is wrong with a file; None when it is there and holds what its manifest row says."""
        path = self._folder.joinpath(export.file)
        try:
            if parquet.hashed(path) != (export.sha256, export.size):
                return f"{path} is not the file that was exported: its hash differs"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        return disagreement(export, parquet.read(path))

    def _export(self, span: Range, now: int, progress: Progress) -> Export:
        path = self._folder / f"usage-{span.seq_lo:015d}.parquet"
        half = path.with_suffix(".half")
        half.unlink(missing_ok=True)
        sums = parquet.write(half, self._pages(span, progress))
        if parquet.read(half) != sums:
            raise Refusal(Reason.STORE_UNAVAILABLE, f"{half} does not hold what was written into it; is its disk sound?")
        sha256, size = parquet.hashed(half)
        export = export_of(sums, seq_lo=span.seq_lo, file=path.name, sha256=sha256, size=size, now=now)
        _sync(half)
        half.replace(path)
        _sync(self._folder)
        if not self._db.write_now(lambda tx: store.record(tx, export)):
            path.unlink()
            raise Refusal(
                Reason.CONFLICT,
                f"usage from {span.seq_lo} on was exported meanwhile from another machine; have one of them export",
            )
        progress(f"{export.file}: {export.requests:,} requests")
        return export

    def _pages(self, span: Range, progress: Progress) -> Iterator[list[Row]]:
        """A page in a snapshot: rows of a closed range do not change."""
        left = span
        while left.seq_lo <= left.seq_hi and (
            page := self._db.read(lambda tx, left=left: store.usage_rows(tx, left, PAGE_ROWS))  # type: ignore[misc]
        ):
            yield page
            left = Range(int(str(page[-1][0])) + 1, span.seq_hi)
            progress(f"usage up to {left.seq_lo - 1:,} of {span.seq_hi:,}")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The kernel's lock: no crash leaves it behind."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refusal(
                Reason.BAD_SETTING, f"the folder for exports {self._folder} cannot be written: {error.strerror}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
