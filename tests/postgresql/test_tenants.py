"""Tenants, keys and who may, as tests/tenants tests them on SQLite, on PostgreSQL."""

from tests.tenants.conftest import cast, clock, ids
from tests.tenants.test_authenticate import *  # noqa: F403 - each of its tests is one of this file
from tests.tenants.test_store import *  # noqa: F403

__all__ = ["cast", "clock", "ids"]

del test_a_secret_is_nowhere, test_many_that_ask_at_once_are_one_look_up  # noqa: F821 - they look into SQLite's file
