"""The two schemas: the same tables and columns, and the same refusals, whichever database keeps the books."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import Server

from millrace import schema
from millrace.base.errors import Refusal
from millrace.store.database import Database
from millrace.store.migrations import Migration
from millrace.store.postgres_database import PostgresDatabase
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.tables import tables
from millrace.store.transaction import Conflict, Tx

OWNER = "books_owner"

SQLITE_COLUMNS = """
SELECT m.name, c.name, c."notnull" OR c.pk > 0 AND m.sql LIKE '%PRIMARY KEY%', c.pk > 0
FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'
"""
POSTGRES_COLUMNS = """
SELECT c.table_name, c.column_name, (c.is_nullable = 'NO')::int, EXISTS (
  SELECT 1 FROM information_schema.table_constraints t
  JOIN information_schema.key_column_usage k USING (constraint_name, table_schema)
  WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name AND k.column_name = c.column_name
)::int FROM information_schema.columns c WHERE c.table_schema = 'public'
"""
SQLITE_UNIQUE = """
SELECT m.name, group_concat(i.name) FROM sqlite_schema m, pragma_index_list(m.name) l, pragma_index_info(l.name) i
WHERE m.type = 'table' AND l."unique" GROUP BY m.name, l.name
"""
POSTGRES_UNIQUE = """
SELECT t.relname, string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_index x
JOIN pg_class t ON t.oid = x.indrelid JOIN pg_attribute a ON a.attrelid = x.indexrelid
WHERE x.indisunique AND t.relnamespace = 'public'::regnamespace GROUP BY t.relname, x.indexrelid
"""
SQLITE_KEYS = """
SELECT m.name, f."from", f."table" FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'
"""
POSTGRES_KEYS = r"""
SELECT t.relname, a.attname, r.relname FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_class r ON r.oid = k.confrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1]
WHERE k.contype = 'f'
UNION ALL
SELECT c.relname, given[place], given[place + 1] FROM (
  SELECT tgrelid, string_to_array(encode(tgargs, 'escape'), '\000') AS given FROM pg_trigger WHERE tgname LIKE '%\_refers'
) t JOIN pg_class c ON c.oid = t.tgrelid, generate_series(1, array_length(given, 1) - 1, 2) AS place
"""
SQLITE_TRIGGERS = "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'"
POSTGRES_TRIGGERS = r"""
SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgname NOT LIKE '%\_refers' AND t.tgname NOT LIKE '%\_is\_referred\_to'
"""


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "millrace.db")
    database.migrate(schema.migrations())
    yield database
    database.close()


def both(lite: Database, db: Database, of_sqlite: str, of_postgres: str) -> tuple[set[object], set[object]]:
    return set(lite.read(lambda tx: tx.rows(of_sqlite))), set(db.read(lambda tx: tx.rows(of_postgres)))


def test_each_migration_has_its_twin() -> None:
    """The same numbers and names, so that a database of either make tells how new it is."""
    names = [[migration.name for migration in schema.migrations(dialect)] for dialect in ("sqlite", "postgresql")]
    assert names[0] == names[1]


def test_both_have_the_same_tables_and_columns(lite: SqliteDatabase, db: PostgresDatabase) -> None:
    """In the same order, of the same three kinds, with the same keys."""
    assert lite.read(tables) == db.read(tables)


def test_both_have_the_same_nulls(lite: SqliteDatabase, db: PostgresDatabase) -> None:
    """What must be there must be there in both."""
    ours, theirs = both(lite, db, SQLITE_COLUMNS, POSTGRES_COLUMNS)
    assert ours == theirs


def test_both_have_the_same_unique_columns(lite: SqliteDatabase, db: PostgresDatabase) -> None:
    """Constraints and unique indexes; SQLite has none of its own for a table's integer key."""
    ours, theirs = both(lite, db, SQLITE_UNIQUE, POSTGRES_UNIQUE)
    numbered = {
        (table.name, column.name)
        for table in lite.read(tables) for column in table.columns if table.key == (column.name,) and column.kind == "integer"
    }  # fmt: skip
    assert ours - numbered == theirs - numbered - {("migration", "number")}


@pytest.mark.parametrize(
    ("of_sqlite", "of_postgres"), [(SQLITE_KEYS, POSTGRES_KEYS), (SQLITE_TRIGGERS, POSTGRES_TRIGGERS)], ids=["keys", "triggers"]
)
def test_both_refer_and_refuse_alike(lite: SqliteDatabase, db: PostgresDatabase, of_sqlite: str, of_postgres: str) -> None:
    """The same foreign keys, and triggers of the same names on the same tables."""
    ours, theirs = both(lite, db, of_sqlite, of_postgres)
    assert ours == theirs


GOOD = (
    "INSERT INTO tenant VALUES ('t', 'acme', 'prepaid', 'CNY', 0, 0)",
    "INSERT INTO project VALUES ('p', 't', 'default', 0)",
    "INSERT INTO api_key VALUES ('k', 'p', 'abc', 'read', NULL, NULL, NULL, NULL, 0)",
    "INSERT INTO account (id, currency) VALUES ('a', 'CNY'), ('b', 'CNY')",
    "INSERT INTO account (id, currency, overdraft) VALUES ('c', 'CNY', 5)",
    "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, at) VALUES ('x', 'single', 'a', 'b', 1, 1)",
    "INSERT INTO price_version VALUES ('v', 'm', 'CNY', 1, 0, '{}', 0)",
    "INSERT INTO invoice VALUES ('i', 'N-1', 't', '2026-11', 'CNY', 0, '{}', 'abc', 0)",
    "INSERT INTO invoice_void VALUES ('i', 'wrong', 1)",
)
BAD = (
    "INSERT INTO tenant VALUES ('u', 'acme', 'prepaid', 'CNY', 0, 0)",
    "INSERT INTO tenant VALUES ('u', 'bolt', 'prepaid', 'CNY', 1, 0)",
    "INSERT INTO tenant VALUES ('u', 'bolt', 'barter', 'CNY', 0, 0)",
    "INSERT INTO tenant VALUES ('u', NULL, 'prepaid', 'CNY', 0, 0)",
    "INSERT INTO project VALUES ('q', 'nobody', 'default', 0)",
    "INSERT INTO api_key VALUES ('l', 'p', 'mr_secret', 'read', NULL, NULL, NULL, NULL, 0)",
    "INSERT INTO api_key VALUES ('l', 'p', 'x', 'read', NULL, 0, NULL, NULL, 0)",
    "UPDATE account SET debits_posted = 6 WHERE id = 'c'",
    "UPDATE account SET debits_posted = -1 WHERE id = 'a'",
    "UPDATE account SET debits_posted = 5000000000000000000 WHERE id='a';UPDATE account SET debits_posted = 2 * debits_posted",
    "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, at) VALUES ('y', 'single', 'a', 'a', 1, 1)",
    "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, at) VALUES ('y', 'post', 'a', 'b', 1, 1)",
    "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, at) VALUES ('x', 'single', 'a', 'b', 1, 1)",
    "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, at) VALUES ('y', 'single', 'a', 'nobody', 1, 1)",
    ("INSERT INTO transfer (id, kind, debit_account, credit_account, amount, pending_id, at) "
    "VALUES ('y', 'void', 'a', 'b', 0, 'nothing', 1)"),
    ("INSERT INTO usage (request_id, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input, output, "
    "reasoning, waived, price_id, tier, amount, currency, epoch, started_at, finished_at) "
    "VALUES ('r', 't', 'p', 'nobody', 'm', 'completed', 'engine', 0, 0, 0, 0, 0, 'v', 0, 0, 'CNY', 1, 0, 0)"),
    ("INSERT INTO open_hold (request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, "
    "currency, legs, epoch, started_at) VALUES ('r', 't', 'p', 'k', 'm', 'v', 0, 0, 0, 'CNY', 0, 9, 0)"),
    "DELETE FROM account WHERE id = 'a'",
    "UPDATE transfer SET amount = 2",
    "DELETE FROM transfer",
    "UPDATE price_version SET version = 2",
    "DELETE FROM price_version",
    "UPDATE invoice SET total = 1",
    "DELETE FROM invoice",
    "UPDATE invoice_void SET reason = 'right'",
    "DELETE FROM invoice_void",
)


@pytest.mark.parametrize("bad", BAD)
def test_both_refuse_the_same_rows(lite: SqliteDatabase, db: PostgresDatabase, bad: str) -> None:
    """A Conflict on both; a trigger's has the same sentence."""
    said = []
    for database in (lite, db):

        def seed(tx: Tx) -> None:
            for statement in (*GOOD, *bad.split(";")[:-1]):
                tx.run(statement)

        database.write_now(seed)
        with pytest.raises(Conflict) as caught:
            database.write_now(lambda tx: tx.run(bad.split(";")[-1]))
        said.append(str(caught.value))
    if bad.startswith(("UPDATE", "DELETE")) and "account" not in bad:
        assert said[1] in said[0]


@pytest.fixture
def role(server: Server) -> Iterator[str]:
    """The URL of a database that an ordinary role owns, which is no superuser and may make nothing else."""
    server.ask(f"CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
    name = server.new_database(owner=OWNER)
    yield server.url(name, user=OWNER)
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")
    server.ask(f"DROP ROLE {OWNER}")


def test_an_ordinary_role_is_enough(role: str) -> None:
    """The owner of a database can migrate it and keep books in it; nothing needs the superuser."""
    database = schema.open_database(role)
    for statement in GOOD:
        database.write_now(lambda tx, sql=statement: tx.run(sql))  # type: ignore[misc]
    assert database.read(lambda tx: tx.row("SELECT COUNT(*) FROM tenant")) == (1,)
    database.close()


def test_servers_that_start_together_migrate_once(role: str) -> None:
    """Four open an empty database at the same moment: one applies all, the others find nothing to do."""
    applied: list[int] = []
    ready = threading.Barrier(4)

    def start() -> None:
        database = PostgresDatabase(role)
        ready.wait(10)
        applied.append(database.migrate(schema.migrations("postgresql")))
        database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [0, 0, 0, len(schema.migrations("postgresql"))]


def test_a_migration_that_fails_half_way_leaves_nothing(role: str) -> None:
    """Neither its tables nor its record nor its predecessor of the same run; the mended one can be applied."""
    one = Migration(1, "0001_one.sql", "CREATE TABLE one (n BIGINT);\n")
    half = Migration(2, "0002_two.sql", "CREATE TABLE two (n BIGINT NOT NULL);\nINSERT INTO two (n) VALUES (NULL);\n")
    database = PostgresDatabase(role)
    with pytest.raises(Conflict):
        database.migrate([one, half])
    assert database.read(tables) == []
    assert database.migrate([one, half._replace(sql="CREATE TABLE two (n BIGINT);\n")]) == 2
    with pytest.raises(Refusal, match="newer Millrace"):
        database.migrate([one])
    database.close()
