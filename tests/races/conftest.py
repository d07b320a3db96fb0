"""What tests with real processes share: where victims are born, a PostgreSQL server that may be crashed, a folder in memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import postgres
from tests.races.nursery import Nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder that waits for no disk, where there is one: a kill takes nothing from either."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def crashing() -> Iterator[postgres.Server]:
    """A PostgreSQL server of its own: whoever has it may crash it."""
    made = postgres.Server(postgres.FAST)
    made.start()
    yield made
    made.remove()
