"""Engines on demand: started for their first user, shared, ended when nobody has used them for a while.

Theory of operation. Whoever wants an engine has a lease of it for as long as it is used, and waits for it while it loads,
but no longer than `patience_s`; it goes on loading for whoever comes next. At most `size` engines are there at once. One more
takes the place of the one that has been without a lease for longest, and is launched when that has ended, so that there is
never memory for more than `size`; where every one is leased it is refused, after a moment. `tend` ends those that nobody
leased for `idle_s`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Protocol, TypeVar

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.engines.protocol import Engine, EngineState, not_ready

RETRY_S: Final = 5
"""When to come back: small files are loaded by then, and answers have ended."""


PLACE_WAIT_S: Final = 1.0
"""A caller has its answer a moment before its lease ends, while that is settled: what it asks next must not be refused."""


class Startable(Engine, Protocol):
    """An engine that says when it has made up its mind."""

    async def decided(self) -> EngineState:
        """Wait until it is READY, or is not going to be for now."""
        ...


E = TypeVar("E", bound=Startable)


class _Entry(Generic[E]):
    def __init__(self, name: str, engine: E, now: int) -> None:
        self.name = name
        self.engine = engine
        self.leases = 0
        self.used_at = now
        self.dropped = False
        self.opening: asyncio.Task[None] | None = None


class Pool(Generic[E]):
    """For one event loop. Engines go by their names."""

    def __init__(self, clock: Clock, *, size: int, idle_s: float, patience_s: float) -> None:
        self._clock = clock
        self._size = size
        self._idle_ns = round(idle_s * NS_PER_S)
        self._patience_s = patience_s
        self._entries: dict[str, _Entry[E]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._closed = False

    @property
    def names(self) -> list[str]:
        """Of the engines that are there, loading ones too."""
        return list(self._entries)

    @asynccontextmanager
    async def lease(self, name: str, make: Callable[[], E]) -> AsyncGenerator[E, None]:
        """The engine of that name, READY, made and started if need be.

        Raises ENGINE_UNAVAILABLE where it is not READY in time, or where all others are in use.
        """
        if name not in self._entries and self._is_taken():
            await self._wait(self._free())
        entry = self._entries.get(name) or self._add(name, make)
        entry.leases += 1
        try:
            await self._ready(entry)
            yield entry.engine
        finally:
            entry.leases -= 1
            entry.used_at = self._clock.monotonic()
            self._freed.set()
            if entry.dropped and not entry.leases:
                self._end(entry)

    def drop(self, name: str) -> None:
        """End the engine when its last lease ends, or now."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.dropped = True
            if not entry.leases:
                self._end(entry)

    def tend(self) -> None:
        """End what nobody has used for long."""
        now = self._clock.monotonic()
        for entry in list(self._entries.values()):
            if not entry.leases and now - entry.used_at >= self._idle_ns:
                self._end(entry)

    async def close(self) -> None:
        """End every engine, whoever uses it. Nothing of them is left."""
        self._closed = True
        for entry in list(self._entries.values()):
            self._end(entry)
        await asyncio.gather(*self._ending)

    def _add(self, name: str, make: Callable[[], E]) -> _Entry[E]:
        if self._closed:
            raise not_ready(name, EngineState.STOPPED, RETRY_S)
        victim = self._victim() if len(self._entries) >= self._size else None
        entry = self._entries[name] = _Entry(name, make(), self._clock.monotonic())
        ending = None if victim is None else self._end(victim)
        entry.opening = asyncio.create_task(self._open(entry, ending), name=f"opening of {name}")
        return entry

    def _is_taken(self) -> bool:
        """Whether every place is in use."""
        return len(self._entries) >= self._size and all(entry.leases for entry in self._entries.values())

    async def _free(self) -> None:
        while self._is_taken():
            self._freed.clear()
            await self._freed.wait()

    def _victim(self) -> _Entry[E]:
        idle = [entry for entry in self._entries.values() if not entry.leases]
        if not idle:
            raise Refusal(
                Reason.ENGINE_UNAVAILABLE,
                f"as many tuned models as can run at once ({self._size}) are answering; try again in {RETRY_S} s",
                retry_after_s=RETRY_S,
            )
        return min(idle, key=lambda entry: entry.used_at)

    async def _open(self, entry: _Entry[E], ending: "asyncio.Task[None] | None") -> None:
        if ending is not None:
            await asyncio.wait({ending})
        await entry.engine.start()

    async def _ready(self, entry: _Entry[E]) -> None:
        engine = entry.engine
        if engine.state is not EngineState.READY:
            await self._wait(self._decided(entry), self._patience_s)
        if engine.state is not EngineState.READY:
            raise not_ready(entry.name, engine.state, RETRY_S)

    async def _wait(self, awaited: Coroutine[Any, Any, None], seconds: float = PLACE_WAIT_S) -> None:
        """For what is awaited, or so long."""
        waits = [asyncio.create_task(awaited), asyncio.create_task(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _decided(self, entry: _Entry[E]) -> None:
        assert entry.opening is not None
        await asyncio.shield(entry.opening)
        await entry.engine.decided()

    def _end(self, entry: _Entry[E]) -> "asyncio.Task[None]":
        """It is not in the pool from here on; its process is gone when the task is done."""
        del self._entries[entry.name]
        entry.dropped = False
        task = asyncio.create_task(self._close(entry), name=f"end of {entry.name}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _close(self, entry: _Entry[E]) -> None:
        if entry.opening is not None:
            await asyncio.wait({entry.opening})
        await entry.engine.close()
