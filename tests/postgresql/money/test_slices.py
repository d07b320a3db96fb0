"""tests/money/slices/test_slices.py on PostgreSQL."""

from tests.money.slices.test_slices import *  # noqa: F403 - each of its tests is one of this file
