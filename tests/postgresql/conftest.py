"""A PostgreSQL server for the whole run, and a database of its own, with all tables, for each test that asks for `db`."""

from collections.abc import Iterator

import pytest
from tests.postgres import Server, fresh_database, shared

from millrace.store.postgres_database import PostgresDatabase


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = shared()
    yield running
    running.remove()
    shared.cache_clear()


@pytest.fixture
def db(server: Server) -> Iterator[PostgresDatabase]:  # noqa: ARG001 - which is stopped after the last test
    with fresh_database() as database:
        yield database
