"""The doctor's look at a PostgreSQL database, which it neither makes nor migrates."""

from tests.postgres import Server

from millrace import schema
from millrace.cli.doctor_cloud import database
from millrace.cli.doctor_findings import Verdict
from millrace.store.migrations import schema_version


def test_a_database_that_is_empty_and_one_that_is_not(server: Server) -> None:
    """Empty it stays empty; one with all tables has the version of this program."""
    empty = server.url(server.new_database())
    for _ in range(2):
        found = database(empty)
        assert (found.verdict, "empty" in found.detail) == (Verdict.OK, True)
    found = database(server.url(server.new_database(server.migrated)))
    assert found.detail == f"schema version {len(schema.migrations('postgresql'))}"


def test_an_older_database_is_a_warning(server: Server) -> None:
    """One migration behind: the next start brings it up to date."""
    place = server.url(server.new_database())
    db = schema.connect(place)
    try:
        db.migrate(schema.migrations("postgresql")[:-1])
        assert db.read(schema_version) == len(schema.migrations("postgresql")) - 1
    finally:
        db.close()
    assert database(place).verdict is Verdict.WARN


def test_a_server_that_does_not_answer_fails() -> None:
    """With a sentence that shows no password."""
    found = database("postgresql://somebody:hunter2@127.0.0.1:1/cloud")
    assert found.verdict is Verdict.FAIL
    assert "hunter2" not in f"{found.detail}{found.remedy}"
