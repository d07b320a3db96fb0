"""Usage in files: every row in one, none in two, also when a run was killed."""

import random

import duckdb
import pytest
from tests.money.retention.conftest import Archive, quiet
from tests.money.usage_rows import COLUMNS, add_usage

from millrace.base.errors import Refusal
from millrace.money.retention import parquet, store
from millrace.money.retention.exporter import Exporter

FIRST, SECOND, THIRD = (f"usage-{seq:015d}.parquet" for seq in (1, 21, 41))


def rows_in_files(archive: Archive) -> list[tuple[object, ...]]:
    """All rows of all files, in order."""
    pattern = str(archive.folder / "*.parquet")
    return [tuple(row) for row in duckdb.connect().read_parquet(pattern).order("seq").fetchall()]


def rows_in_table(archive: Archive) -> list[tuple[object, ...]]:
    return [tuple(row) for row in archive.db.read(lambda tx: store.usage_rows(tx, store.Range(1, 10**6), 10**6))]


def test_every_row_is_in_one_file(archive: Archive) -> None:
    """Run after run, the files together hold what the table does, value by value, and a run with nothing new makes none."""
    assert archive.export() == [FIRST, SECOND, THIRD]
    assert rows_in_files(archive) == rows_in_table(archive)
    assert archive.export() == []
    archive.db.write_now(lambda tx: add_usage(tx, random.Random(2), 3, first=100))
    assert archive.export() == [f"usage-{46:015d}.parquet"]
    assert rows_in_files(archive) == rows_in_table(archive)
    assert sorted(path.name for path in archive.folder.iterdir() if not path.name.startswith(".")) == [
        FIRST, SECOND, THIRD, f"usage-{46:015d}.parquet",
    ]  # fmt: skip


def test_what_is_not_closed_waits(archive: Archive) -> None:
    """Rows above the closed number are in no file, and the next run begins with them."""
    archive.exporter.run(30, 0, quiet)
    found = archive.db.read(store.exports)
    assert [(one.seq_lo, one.seq_hi) for one in found] == [(1, 20), (21, 30)]
    assert archive.export() == [f"usage-{31:015d}.parquet"]


def test_a_manifest_row_says_what_is_in_the_file(archive: Archive) -> None:
    """Counts, tokens, amounts and hash of each file, checked against the file."""
    archive.export()
    for export in archive.db.read(store.exports):
        assert archive.exporter.verify(export) is None
    assert sum(one.requests for one in archive.db.read(store.exports)) == 45


def test_amounts_beyond_64_bits(archive: Archive) -> None:
    """A sum that leaves 64 bits is exact in the manifest and in what is read back."""
    archive.db.write_now(lambda tx: add_usage(tx, random.Random(5), 15, first=100, largest=2**62))
    archive.export()
    last = archive.db.read(store.exports)[-1]
    assert dict(last.amounts)["CNY"] > 2**63
    assert archive.exporter.verify(last) is None


def test_a_file_without_a_manifest_row_is_replaced(archive: Archive) -> None:
    """What a killed run left under either name does not matter to the next one."""
    archive.folder.mkdir()
    for name in (FIRST, "usage-000000000000001.half"):
        (archive.folder / name).write_bytes(b"half a file")
    archive.export()
    assert rows_in_files(archive) == rows_in_table(archive)
    assert not list(archive.folder.glob("*.half"))


def test_of_two_machines_one_exports(archive: Archive) -> None:
    """A range that was recorded meanwhile is refused, and leaves no file that a manifest row does not know."""

    def other(words: str) -> None:
        if words.startswith("usage"):
            elsewhere = Exporter(archive.db, archive.folder.parent / "elsewhere", range_rows=20)
            if archive.db.read(store.exports) == []:
                elsewhere.run(20, 0, quiet)

    with pytest.raises(Refusal, match="exported meanwhile from another machine"):
        archive.exporter.run(45, 0, other)
    assert not list(archive.folder.glob("*.parquet"))


def test_a_changed_file_is_found(archive: Archive) -> None:
    """One byte more, other rows, or no file: each is a sentence that names the file."""
    archive.export()
    first, second, _ = archive.db.read(store.exports)
    path = archive.folder / FIRST
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    assert archive.exporter.verify(first) == f"{path} is not the file that was exported: its hash differs"
    path.unlink()
    assert archive.exporter.verify(first) == f"{path} cannot be read: No such file or directory"
    assert archive.exporter.verify(second) is None
    assert parquet.read(archive.folder / SECOND).seq_lo == 21


def test_numbers_may_be_missing(archive: Archive) -> None:
    """A range begins behind the one before it, also where its first row does not."""
    columns = ", ".join(COLUMNS[1:])
    late = f"INSERT INTO usage (seq, request_id, {columns}) SELECT 99, 'late', {columns} FROM usage WHERE seq = 1"  # noqa: S608
    archive.db.write_now(lambda tx: tx.run(late))
    archive.export()
    assert [(one.seq_lo, one.seq_hi, one.requests) for one in archive.db.read(store.exports)] == [
        (1, 20, 20), (21, 40, 20), (41, 99, 6),
    ]  # fmt: skip
    assert rows_in_files(archive) == rows_in_table(archive)
