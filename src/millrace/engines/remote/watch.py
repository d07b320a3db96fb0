"""Looks now and then whether a server that somebody else runs is there."""

import asyncio

from millrace.base.clock import Clock
from millrace.base.errors import Refusal
from millrace.engines.supervisor import NotServingError
from millrace.engines.upstream.client import Client

MISSES_MAX = 2
"""One probe may get lost on a busy server; two in a row are a failure."""


class Watch:
    """A Served that is not ours: up as long as its probe is answered."""

    def __init__(self, client: Client, clock: Clock, probe_path: str, every_s: float) -> None:
        self._client = client
        self._clock = clock
        self._probe_path = probe_path
        self._every_s = every_s
        self._doubted = asyncio.Event()

    def doubt(self) -> None:
        """A call could not reach the server: look at once instead of at the next turn."""
        self._doubted.set()

    async def ready(self) -> None:
        failure = await self._probe()
        if failure is not None:
            raise NotServingError(failure)

    async def gone(self) -> str:
        misses = 0
        while True:
            await self._pause()
            failure = await self._probe()
            misses = 0 if failure is None else misses + 1
            if failure is not None and misses >= MISSES_MAX:
                return failure
            if failure is not None:
                self._doubted.set()

    async def stop(self) -> None:
        """Nothing of ours runs over there."""

    async def _pause(self) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(self._every_s))
        doubt = asyncio.ensure_future(self._doubted.wait())
        try:
            await asyncio.wait({sleep, doubt}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            doubt.cancel()
        self._doubted.clear()

    async def _probe(self) -> str | None:
        """None, or what is wrong."""
        try:
            await self._client.get(self._probe_path)
        except Refusal as refusal:
            upstream = self._client.upstream
            return f"{upstream.url}{self._probe_path} does not answer as it should: {refusal.sentence}"
        return None
