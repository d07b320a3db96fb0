"""`millrace receipt`, `balance` and `usage` on PostgreSQL."""

from tests.cli.test_consumption import *  # noqa: F403 - each of its tests is one of this file
