"""Every statement of the house is one that PostgreSQL understands: tables, columns, types, grouping."""

from pathlib import PurePath
from typing import Final

import pytest
from psycopg import errors, pq
from tests.postgres import Server
from tests.tidy.repository import SRC

from millrace.store.named import Queries
from millrace.store.postgres_connection import Address
from millrace.store.postgres_sql import translate

FILES: Final = sorted(path.relative_to(SRC.parent) for path in SRC.rglob("queries*.sql"))

OVER_CAREFUL: Final = errors.AmbiguousParameter.sqlstate
"""A parameter that is compared with integers of two sizes; ours come with their size, unless they are NULL."""


@pytest.mark.parametrize("file", FILES, ids=[".".join(file.parent.parts[1:]) for file in FILES])
def test_every_statement_can_be_prepared(server: Server, file: PurePath) -> None:
    """Also where every parameter is NULL, and so has no type: lists want a cast, as in `unnest(:ids...::text[])`."""
    queries = Queries(".".join(file.parent.parts), file.name)
    refused = []
    with Address(server.url(server.migrated)).connect() as connection:
        for name in queries.names():
            result = connection.pgconn.prepare(b"", translate(queries[name]).sql.encode())
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            if result.status == pq.ExecStatus.FATAL_ERROR and state != OVER_CAREFUL:
                refused.append(f"{name}: {result.error_message.decode()}")
    assert refused == []
