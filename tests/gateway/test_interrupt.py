"""Ending work from outside, exactly once, without hitting what comes after."""

import asyncio

import pytest

from millrace.gateway.interrupt import Cause, Interrupt, Interrupted


def test_what_waits_is_ended_with_the_cause() -> None:
    """A fired interrupt ends what awaits inside, with the first cause, and the task goes on after it."""

    async def scene() -> None:
        interrupt = Interrupt()
        asyncio.get_running_loop().call_soon(interrupt.fire, Cause.TIME_IS_UP)
        asyncio.get_running_loop().call_soon(interrupt.fire, Cause.SHUTDOWN)
        with pytest.raises(Interrupted) as ended, interrupt.interruptible():
            await asyncio.get_running_loop().create_future()
        assert ended.value.cause is Cause.TIME_IS_UP
        await asyncio.sleep(0)  # a cancellation left behind would strike here

    asyncio.run(scene())


def test_the_task_itself_may_fire() -> None:
    """Fired from inside, the work ends at its own end and nothing is cancelled later."""

    async def scene() -> None:
        interrupt = Interrupt()
        with pytest.raises(Interrupted), interrupt.interruptible():
            interrupt.fire(Cause.CLIENT_GONE)
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(scene())


def test_fired_before_it_begins_nothing_is_begun() -> None:
    """Work that is interrupted before its start does not start."""

    async def scene() -> None:
        interrupt = Interrupt()
        interrupt.fire(Cause.SHUTDOWN)
        begun = False
        with pytest.raises(Interrupted), interrupt.interruptible():
            begun = True
        assert not begun

    asyncio.run(scene())


def test_another_cancellation_stays_a_cancellation() -> None:
    """Who cancels the task himself sees CancelledError, also when an interrupt fired as well."""

    async def work(interrupt: Interrupt) -> None:
        with interrupt.interruptible():
            await asyncio.get_running_loop().create_future()

    async def scene() -> None:
        interrupt = Interrupt()
        task = asyncio.create_task(work(interrupt))
        await asyncio.sleep(0)
        interrupt.fire(Cause.CLIENT_GONE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
