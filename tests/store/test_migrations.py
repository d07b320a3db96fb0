"""Migrations: each once, in order, whole or not at all, and never an edited or a newer one."""

from pathlib import Path

import pytest

from millrace import schema
from millrace.base.errors import Reason, Refusal
from millrace.store.database import Database
from millrace.store.migrations import Migration, load, schema_version, statements
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Conflict

ONE = Migration(1, "0001_one.sql", "CREATE TABLE one (n INTEGER) STRICT;\n")
TWO = Migration(2, "0002_two.sql", "CREATE TABLE two (n INTEGER) STRICT;\nINSERT INTO two (n) VALUES (2);\n")
HALF = TWO._replace(sql="CREATE TABLE two (n INTEGER NOT NULL) STRICT;\nINSERT INTO two (n) VALUES (NULL);\n")


@pytest.fixture
def empty(tmp_path: Path) -> Database:
    return SqliteDatabase(tmp_path / "empty.db")


def tables(db: Database) -> list[str]:
    names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    return [name for (name,) in db.read(lambda tx: tx.rows(names))]


def test_what_is_missing_is_applied_once(empty: Database) -> None:
    """A new database gets all, an older one the rest, a current one nothing."""
    assert [empty.migrate([ONE]), empty.migrate([ONE, TWO]), empty.migrate([ONE, TWO])] == [1, 1, 0]
    assert tables(empty) == ["migration", "one", "two"]
    assert empty.read(lambda tx: tx.rows("SELECT n FROM two")) == [(2,)]
    empty.close()


def test_a_migration_that_fails_half_way_leaves_nothing(empty: Database) -> None:
    """Neither its table nor its record nor its predecessor of the same run stays, and the mended one can be applied."""
    with pytest.raises(Conflict):
        empty.migrate([ONE, HALF])
    assert tables(empty) == []
    assert empty.migrate([ONE, TWO]) == 2
    empty.close()


def test_an_edited_migration_is_refused(empty: Database) -> None:
    """A migration that was applied and then edited is named; nothing is applied after it."""
    empty.migrate([ONE])
    with pytest.raises(Refusal, match=r"0001_one\.sql of the database differs") as caught:
        empty.migrate([ONE._replace(sql=ONE.sql + "-- edited\n"), TWO])
    assert caught.value.reason is Reason.BAD_SETTING
    assert tables(empty) == ["migration", "one"]
    empty.close()


def test_a_newer_database_is_refused(empty: Database) -> None:
    """A program that is older than the database does not touch it, and says which file it does not know."""
    empty.migrate([ONE, TWO])
    with pytest.raises(Refusal, match=r"newer Millrace \(it has 0002_two\.sql\)"):
        empty.migrate([ONE])
    empty.close()


def package(folder: Path, name: str, *files: str) -> str:
    (folder / name).mkdir()
    for file in ("__init__.py", *files):
        (folder / name / file).write_text("" if file.endswith(".py") else f"CREATE TABLE t_{file[:4]} (n INTEGER);\n")
    return name


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mig_doubled", ["0001_a.sql", "0001_b.sql", "0002_c.sql"]),
        ("mig_gap", ["0001_a.sql", "0003_c.sql"]),
        ("mig_from_nought", ["0000_a.sql"]),
    ],
)
def test_numbers_that_are_doubled_or_missing_are_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str]
) -> None:
    """Two files with one number, or a gap, are refused before anything is applied."""
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="not numbered 1, 2, 3"):
        load(package(tmp_path, name, *files))


def test_files_are_loaded_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbered SQL files are found in order; other files are none of its business."""
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load(package(tmp_path, "mig_good", "0002_b.sql", "0001_a.sql", "notes.txt", "draft.sql"))
    assert [(migration.number, migration.name) for migration in loaded] == [(1, "0001_a.sql"), (2, "0002_b.sql")]


def test_the_program_s_own_migrations_apply(empty: Database) -> None:
    """All tables of the house can be made on an empty database, with no row in them whose foreign key is wrong."""
    assert empty.migrate(schema.migrations()) == len(schema.migrations())
    assert empty.read(lambda tx: tx.rows("PRAGMA foreign_key_check")) == []
    assert {"tenant", "api_key", "usage"} < set(tables(empty))
    empty.close()


def test_a_trigger_is_one_statement() -> None:
    """Semicolons inside BEGIN … END; do not end a statement, and comments do not count."""
    sql = """-- a comment; with a semicolon
CREATE TABLE t (n INTEGER);  -- and one behind
CREATE TRIGGER no BEFORE UPDATE ON t
BEGIN
  SELECT RAISE(ABORT, 'never');
  SELECT 1;
END;
CREATE INDEX i ON t (n);
"""
    first, trigger, last = statements(sql)
    assert first.startswith("CREATE TABLE")
    assert (trigger.startswith("CREATE TRIGGER"), trigger.endswith("END;")) == (True, True)
    assert last == "CREATE INDEX i ON t (n);"


def test_a_statement_without_its_semicolon_is_a_bug() -> None:
    """The end of a file must not be dropped silently."""
    with pytest.raises(ValueError, match="lacks its semicolon"):
        statements("CREATE TABLE a (n INTEGER);\nCREATE TABLE b (n INTEGER)\n")


def test_the_version_is_that_of_the_newest_migration(empty: Database) -> None:
    """0 before the first; asking makes nothing."""
    assert empty.read(schema_version) == 0
    assert tables(empty) == []
    empty.migrate([ONE, TWO])
    assert empty.read(schema_version) == 2
