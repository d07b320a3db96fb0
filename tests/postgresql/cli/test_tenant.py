"""`millrace tenant` on PostgreSQL."""

from tests.cli.test_tenant import *  # noqa: F403 - each of its tests is one of this file
