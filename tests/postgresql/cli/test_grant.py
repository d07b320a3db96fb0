"""`millrace grant` on PostgreSQL."""

from tests.cli.test_grant import *  # noqa: F403 - each of its tests is one of this file
