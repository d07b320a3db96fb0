"""A llama.cpp that another process of ours launched and keeps alive: followed by what that process says of it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from millrace.engines.embedded.links import Links, Place, TemplateCapabilities
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.life import Life
from millrace.engines.protocol import EngineState

STOPPED: Final = "the engine is being stopped"


class Standing(Struct, frozen=True, kw_only=True):
    """How an engine stands: `place` and `template` count while it is READY."""

    state: EngineState = EngineState.DECLARED
    failure: str | None = None
    place: Place | None = None
    template: TemplateCapabilities = TemplateCapabilities()


Feed = Callable[[], AsyncGenerator[Standing, None]]
"""The owner's standings, the present one first. One may be left out when another comes soon after it, the last never is."""


class Follower:
    """Takes an engine's life through the owner's steps, and gives it `links` while the owner says READY."""

    def __init__(self, life: Life, settings: EmbeddedSettings, feed: Feed, sharers: int) -> None:
        self._life = life
        self._settings = settings
        self._feed = feed
        self._sharers = sharers
        self._task: asyncio.Task[None] | None = None
        self.links: Links | None = None

    def start(self) -> None:
        self._life.become(EngineState.LOADING)
        self._task = asyncio.create_task(self._run(), name=f"follower of {self._life.model}")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._leave()
        if self._life.state is not EngineState.STOPPED:
            self._life.become(EngineState.STOPPED)
        if task is not None and not task.cancelled():
            task.result()  # a bug comes out here

    async def _run(self) -> None:
        async with aclosing(self._feed()) as standings:
            async for standing in standings:
                await self._follow(standing)

    async def _follow(self, standing: Standing) -> None:
        if standing.place is not None:
            await self._attach(standing.place, standing.template)
        elif standing.state in (EngineState.DECLARED, EngineState.LOADING):
            await self._fail(standing.failure)
            self._load()
        else:
            self._load()
            await self._fail(standing.failure or STOPPED)

    async def _attach(self, place: Place, template: TemplateCapabilities) -> None:
        """Links to that place; those to another one are of a child that is gone."""
        if self._life.state is EngineState.READY and self.links is not None and self.links.place == place:
            return
        await self._fail(None)
        self._load()
        self.links = Links(self._settings, place, self._sharers)
        self.links.template = template
        self._life.become(EngineState.READY)

    async def _fail(self, failure: str | None) -> None:
        """Of what is loading only with a failure to tell."""
        if self._life.state is EngineState.READY or (self._life.state is EngineState.LOADING and failure is not None):
            self._life.become(EngineState.FAILED, failure)
        await self._leave()

    def _load(self) -> None:
        if self._life.state is EngineState.FAILED:
            self._life.become(EngineState.LOADING)

    async def _leave(self) -> None:
        if self.links is not None:
            await self.links.close()
