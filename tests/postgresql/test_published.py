"""Published models, as tests/catalog/published tests them on SQLite, on PostgreSQL."""

from tests.catalog.published.conftest import depot
from tests.catalog.published.test_depot import *  # noqa: F403 - each of its tests is one of this file
from tests.tenants.conftest import cast, clock, ids

__all__ = ["cast", "clock", "depot", "ids"]
