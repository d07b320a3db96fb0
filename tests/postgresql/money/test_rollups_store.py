"""tests/money/rollups/test_store.py on PostgreSQL."""

from tests.money.rollups.test_store import *  # noqa: F403 - each of its tests is one of this file
