"""A house on disk with 45 usage rows of November in three ranges, and the two that look after them."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.money.house import on_disk
from tests.money.usage_rows import add_usage

from millrace.money.retention.exporter import Exporter
from millrace.money.retention.keeper import Keeper
from millrace.money.rollups.roller import Roller
from millrace.store.database import Database


class Archive:
    """`settle` and `roll` bring the rows so far that they may go."""

    def __init__(self, folder: Path, db: Database) -> None:
        self.db = db
        self.folder = folder / "exports"
        self.exporter = Exporter(db, self.folder, range_rows=20)
        self.keeper = Keeper(db, self.exporter, step_rows=7, pause=lambda: None)

    def settle(self) -> None:
        self.db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = 'inv_1' WHERE input + output > 0"))

    def roll(self) -> int:
        return Roller(self.db).roll()

    def export(self) -> list[str]:
        """The files that were made."""
        return [one.file for one in self.exporter.run(self.roll(), 0, quiet)]

    def count(self, table: str) -> int:
        return int(self.db.read(lambda tx: tx.rows(f"SELECT COUNT(*) FROM {table}"))[0][0])  # noqa: S608 - ours


def quiet(words: str) -> None:
    """Progress that nobody looks at."""
    assert words


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    db = on_disk(tmp_path)
    db.write_now(lambda tx: add_usage(tx, random.Random(1), 45))
    yield Archive(tmp_path, db)
    db.close()
