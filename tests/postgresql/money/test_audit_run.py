"""tests/money/audit/test_run.py on PostgreSQL."""

from tests.money.audit.test_run import *  # noqa: F403 - each of its tests is one of this file
