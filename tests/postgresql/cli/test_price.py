"""`millrace price` on PostgreSQL."""

from tests.cli.test_price import *  # noqa: F403 - each of its tests is one of this file
