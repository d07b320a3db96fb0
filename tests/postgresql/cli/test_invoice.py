"""`millrace invoice` on PostgreSQL."""

from tests.cli.test_invoice import *  # noqa: F403 - each of its tests is one of this file
