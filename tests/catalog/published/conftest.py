"""A hub in a folder: Acme publishes, Globex is the stranger."""

from pathlib import Path

import pytest
from tests.tenants.conftest import Cast, blank, cast, clock, db, ids

from millrace.base.clock import FakeClock
from millrace.base.ids import Ids
from millrace.catalog.published.depot import Depot
from millrace.store.database import Database

__all__ = ["Cast", "blank", "cast", "clock", "db", "ids"]

QUOTA = 1000


@pytest.fixture
def depot(db: Database, tmp_path: Path, ids: Ids, clock: FakeClock) -> Depot:
    return Depot(db, tmp_path / "hub", ids, clock, QUOTA)
