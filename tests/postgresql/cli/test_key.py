"""`millrace key` on PostgreSQL."""

from tests.cli.test_key import *  # noqa: F403 - each of its tests is one of this file
