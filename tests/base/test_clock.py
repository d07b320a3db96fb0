"""The fake clock obeys, and the system's clock does what its promises say."""

import asyncio

from millrace.base.clock import NS_PER_S, Clock, FakeClock, SystemClock


def test_the_fake_clock_moves_only_when_told() -> None:
    """Both of its clocks stand still until `advance`, and then agree."""
    clock = FakeClock(now=5 * NS_PER_S)
    before = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == before
    clock.advance(1.5)
    assert (clock.now() - before[0], clock.monotonic() - before[1]) == (1_500_000_000, 1_500_000_000)


def test_stepping_back_spares_the_monotonic_clock() -> None:
    """The wall clock may be set back; durations must not notice."""
    clock = FakeClock()
    wall, monotonic = clock.now(), clock.monotonic()
    clock.advance(-60)
    assert clock.now() == wall - 60 * NS_PER_S
    assert clock.monotonic() == monotonic


def test_sleeping_on_the_fake_clock_takes_no_time() -> None:
    """An hour passes at once; others get a turn."""
    clock = FakeClock()

    async def sleep() -> list[str]:
        turns: list[str] = []
        other = asyncio.create_task(_note(turns))
        await clock.sleep(3600)
        await other
        return turns

    assert asyncio.run(sleep()) == ["other"]
    assert clock.monotonic() == 3600 * NS_PER_S


async def _note(turns: list[str]) -> None:
    turns.append("other")


def test_the_system_clock_is_a_clock() -> None:
    """Its instants are after 2026-01-01 and its monotonic clock does not go back over a sleep."""
    clock: Clock = SystemClock()
    before = clock.monotonic()
    asyncio.run(clock.sleep(0.001))
    assert clock.monotonic() - before >= 1_000_000
    assert clock.now() > 1_767_225_600 * NS_PER_S
