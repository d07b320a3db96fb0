"""tests/money/audit/test_reconcile.py on PostgreSQL."""

import pytest
from tests.money.audit.life import Life
from tests.money.audit.test_reconcile import *  # noqa: F403 - each of its tests is one of this file
from tests.money.audit.test_reconcile import two_days_of

from millrace.store.postgres_database import PostgresDatabase


@pytest.fixture  # type: ignore[no-redef]  # in place of the one on SQLite
def life(db: PostgresDatabase) -> Life:
    return two_days_of(db)
