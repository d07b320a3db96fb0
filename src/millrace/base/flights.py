"""One question at a time for each key: whoever asks while it is under way gets its answer too."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Flights(Generic[K, V]):
    """For one event loop. A hundred requests that miss a cache at once ask the database once."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[V]] = {}

    async def ask(self, key: K, question: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The answer, or what the question raises. A caller that is cancelled does not stop it for the others."""
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(question())
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: K, task: "asyncio.Task[V]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen, though everybody who asked has left
