"""Rolling holds: a long limit is held step by step, ahead of what is made, so that a small balance is not blocked by it.

Nothing is released that is not held for: where the next step is refused the answer ends there, billed for what it has.
"""

import asyncio
import contextlib
import sys
from typing import Final

from millrace.base.errors import Refusal
from millrace.money.billing.books import Books
from millrace.money.billing.handle import Hold

STEP_TOKENS: Final = 8192
"""Output held at a time. Limits up to this, which nearly all are, are held whole: 402 comes before anything runs."""


class Rolling:
    """Keeps one request's hold ahead of its output. `cover` before each release, `close` before the settlement."""

    def __init__(self, books: Books, hold: Hold, limit: int, step: int) -> None:
        self._books = books
        self._hold = hold
        self._limit = limit
        self._step = step
        self._extending: asyncio.Task[None] | None = None
        self._look_at = self._next_look()

    async def cover(self, output: int) -> None:
        """Return when that many output tokens are held for. Raises what the books refuse the next step with."""
        while output >= self._look_at:
            if self._extending is None:
                self._extending = asyncio.create_task(self._extend())
            if output <= self._hold.output_bound and not _succeeded(self._extending):
                return  # it is on its way, or was refused while what is held still lasts
            await asyncio.shield(self._extending)
            self._extending = None
            self._look_at = self._next_look()

    async def close(self) -> None:
        """Wait for an extension under way; what it says does not matter any more."""
        if self._extending is not None:
            with contextlib.suppress(Refusal):
                await self._extending

    async def _extend(self) -> None:
        await self._books.extend(self._hold, min(self._hold.output_bound + self._step, self._limit))

    def _next_look(self) -> int:
        """Half a step before the end of what is held: time enough to extend it while tokens are still being made."""
        if self._hold.output_bound >= self._limit:
            return sys.maxsize
        return self._hold.output_bound - self._step // 2


def _succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and task.exception() is None
