"""The life-cycle table."""

import pytest

from millrace.engines.protocol import NEXT, EngineState, transition


def test_every_state_has_its_row() -> None:
    """No state is forgotten in the table, so a missing step is a refusal and never a KeyError."""
    assert set(NEXT) == set(EngineState)


def test_a_step_of_the_table_is_taken() -> None:
    """A loading engine becomes ready."""
    assert transition(EngineState.LOADING, EngineState.READY) is EngineState.READY


def test_a_step_outside_the_table_is_a_bug() -> None:
    """What was stopped cannot come back."""
    with pytest.raises(ValueError, match="stopped cannot become ready"):
        transition(EngineState.STOPPED, EngineState.READY)
