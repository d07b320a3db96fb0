"""tests/money/audit/test_examine.py on PostgreSQL."""

import pytest
from tests.money.audit.life import Life
from tests.money.audit.test_examine import *  # noqa: F403 - each of its tests is one of this file

from millrace.store.postgres_database import PostgresDatabase


@pytest.fixture  # type: ignore[no-redef]  # in place of the one on SQLite
def life(db: PostgresDatabase) -> Life:
    return Life(db)
