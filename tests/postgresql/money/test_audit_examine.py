"""tests/money/audit/test_examine.py on PostgreSQL."""

import pytest
from tests.money.audit.life import Life
from tests.money.audit.test_examine import *  # noqa: F403 - each of its tests is one of this file

from millrace.store.postgres_database import PostgresDatabase


@pytest.fixture
def life(db: PostgresDatabase) -> Life:
    return Life(db)
