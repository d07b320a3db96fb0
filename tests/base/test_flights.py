"""One question at a time for each key."""

import asyncio

import pytest

from millrace.base.flights import Flights


class Oracle:
    """Answers when it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.speak = asyncio.Event()

    async def answer(self) -> int:
        self.asked += 1
        await self.speak.wait()
        return self.asked


async def waiting(flights: Flights[str, int], oracle: Oracle, *keys: str) -> list["asyncio.Task[int]"]:
    """Tasks that have all asked."""
    tasks = [asyncio.ensure_future(flights.ask(key, oracle.answer)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_those_who_ask_meanwhile_share_the_answer() -> None:
    """Three ask for one key and one for another: two questions. Afterwards it is asked anew."""

    async def scene() -> tuple[list[int], int]:
        flights, oracle = Flights[str, int](), Oracle()
        tasks = await waiting(flights, oracle, "a", "a", "a", "b")
        oracle.speak.set()
        answers = [await task for task in tasks]
        return answers, await flights.ask("a", oracle.answer)

    assert asyncio.run(scene()) == ([2, 2, 2, 2], 3)


def test_one_who_leaves_takes_nobody_s_answer_with_him() -> None:
    """The first one is cancelled while the question is under way; the second is answered."""

    async def scene() -> tuple[bool, int]:
        flights, oracle = Flights[str, int](), Oracle()
        first, second = await waiting(flights, oracle, "a", "a")
        first.cancel()
        await asyncio.sleep(0)
        oracle.speak.set()
        return first.cancelled(), await second

    assert asyncio.run(scene()) == (True, 1)


def test_a_failure_is_everybody_s_and_is_not_kept() -> None:
    """Each who asked is told, and the next one asks again."""

    async def scene() -> None:
        flights: Flights[str, int] = Flights()

        async def fail() -> int:
            raise KeyError("no")

        for _ in range(2):
            for outcome in await asyncio.gather(*(flights.ask("a", fail) for _ in range(2)), return_exceptions=True):
                assert isinstance(outcome, KeyError)
        assert await flights.ask("a", Oracle.answer.__get__(spoken())) == 1

    def spoken() -> Oracle:
        oracle = Oracle()
        oracle.speak.set()
        return oracle

    asyncio.run(scene())


@pytest.mark.parametrize("key", ["a", "b"])
def test_a_key_is_forgotten_when_it_has_landed(key: str) -> None:
    """Nothing is kept: a stranger who tries a million keys takes no memory."""

    async def scene() -> int:
        flights, oracle = Flights[str, int](), Oracle()
        oracle.speak.set()
        await flights.ask(key, oracle.answer)
        await asyncio.sleep(0)
        return len(flights._under_way)

    assert asyncio.run(scene()) == 0
