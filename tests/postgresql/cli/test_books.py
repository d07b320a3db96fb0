"""`millrace trial-balance` and `audit` on PostgreSQL."""

from tests.cli.test_books import *  # noqa: F403 - each of its tests is one of this file
