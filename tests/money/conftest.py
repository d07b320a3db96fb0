"""The house that money tests live in."""

import pytest
from tests.money.house import House


@pytest.fixture
def house() -> House:
    return House()
