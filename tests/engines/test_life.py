"""Where an engine stands."""

import asyncio

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.engines.life import Life
from millrace.engines.protocol import EngineState


def test_a_failure_stays_readable_until_the_engine_is_ready() -> None:
    """The operator still reads why it failed while it loads again, and no longer once it is ready."""
    life = Life("m")
    life.become(EngineState.LOADING)
    life.become(EngineState.FAILED, "no file")
    life.become(EngineState.LOADING)
    assert life.failure == "no file"
    life.become(EngineState.READY)
    assert life.failure is None


def test_decided_waits_for_the_end_of_loading() -> None:
    """Whoever waits hears of FAILED as well as of READY."""

    async def scene() -> EngineState:
        life = Life("m")
        waiting = asyncio.create_task(life.decided())
        await asyncio.sleep(0)
        life.become(EngineState.LOADING)
        await asyncio.sleep(0)
        assert not waiting.done()
        life.become(EngineState.FAILED, "no file")
        return await waiting

    assert asyncio.run(scene()) is EngineState.FAILED


def test_an_engine_that_is_not_ready_takes_no_work() -> None:
    """The refusal says when to come back."""
    with pytest.raises(Refusal) as refused:
        Life("m").require_ready(retry_after_s=3)
    assert (refused.value.reason, refused.value.retry_after_s) == (Reason.ENGINE_UNAVAILABLE, 3)
