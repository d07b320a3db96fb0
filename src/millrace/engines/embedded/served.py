"""One running llama.cpp of ours: the child process, and the connections to it."""

import asyncio
import os
import secrets
import sys

import msgspec

from millrace.engines.embedded.links import Links, Place
from millrace.engines.embedded.settings import ChildSettings, EmbeddedSettings, Report
from millrace.engines.process import Process
from millrace.engines.supervisor import NotServingError


class LlamaServer:
    """A Served: spawn it with `launch`. Its `links` exist from `ready` on, and are closed by `stop`."""

    def __init__(self, settings: EmbeddedSettings, process: Process, api_key: str) -> None:
        self._settings = settings
        self._process = process
        self._api_key = api_key
        self.links: Links | None = None

    @classmethod
    async def launch(cls, settings: EmbeddedSettings) -> "LlamaServer":
        key = secrets.token_urlsafe(32)
        told = msgspec.json.encode(ChildSettings(engine=settings, api_key=key, parent=os.getpid()))
        process = await Process.spawn([sys.executable, "-m", "millrace.engines.embedded.child"], told + b"\n")
        return cls(settings, process, key)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        report = await self._report()
        if report.url is None:
            raise NotServingError(report.failure or "the child said nothing")
        place = Place(url=report.url, embeddings_url=report.embeddings_url, api_key=self._api_key)
        self.links = Links(self._settings, place)
        await self.links.examine()

    async def gone(self) -> str:
        return f"model {self._settings.model!r}: {await self._process.gone()}"

    async def stop(self) -> None:
        await self._process.stop()
        if self.links is not None:
            await self.links.close()

    async def _report(self) -> Report:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.load_timeout_s):
                line = await self._process.line()
        except TimeoutError:
            raise NotServingError(
                f"model {settings.model!r}: {settings.path} was not loaded within {settings.load_timeout_s} s; "
                "raise load_timeout_s or take a smaller file"
            ) from None
        if not line:
            raise NotServingError(
                f"model {settings.model!r}: {await self._process.gone()} while it loaded {settings.path}; "
                "fewer slots or a smaller context_tokens take less memory"
            )
        return msgspec.json.decode(line, type=Report)
