"""The world that invoice tests live in."""

import pytest
from tests.money.invoices.world import World


@pytest.fixture
def world() -> World:
    made = World()
    made.price("tiny", (None, "0.5", "0.1", "1.5"))
    made.price("qwen3-max", (32_768, "2.5", "0.5", "10"), (131_072, "4", "0.8", "16"))
    return made
