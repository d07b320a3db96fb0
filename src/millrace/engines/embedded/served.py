"""One running llama.cpp: the child process, what it says of its model, and the connections to it."""

import asyncio
import os
import secrets
import sys

import msgspec
from msgspec import Struct

from millrace.base.errors import Refusal
from millrace.engines.embedded.settings import ChildSettings, EmbeddedSettings, Report
from millrace.engines.process import Process
from millrace.engines.supervisor import NotServingError
from millrace.engines.upstream.client import Client, Upstream

SMALL_CONNECTIONS_MAX = 12


class TemplateCapabilities(Struct, frozen=True):
    """What the chat template of a file can express, as llama.cpp finds by trying it."""

    supports_tools: bool = False
    supports_tool_calls: bool = False
    supports_parallel_tool_calls: bool = False
    supports_reasoning_effort: bool = False


class _Defaults(Struct, frozen=True):
    n_ctx: int = 0


class Properties(Struct, frozen=True):
    """What GET /props says of the loaded model."""

    default_generation_settings: _Defaults = _Defaults()
    chat_template_caps: TemplateCapabilities = TemplateCapabilities()


class LlamaServer:
    """A Served: spawn it with `launch`. Its clients exist from `ready` to `stop`."""

    def __init__(self, settings: EmbeddedSettings, process: Process, api_key: str, connections_max: int) -> None:
        self._settings = settings
        self._process = process
        self._api_key = api_key
        self._connections_max = connections_max
        self._clients: list[Client] = []
        self.answers: Client | None = None
        self.counting: Client | None = None
        self.vectors: Client | None = None
        self.template = TemplateCapabilities()

    @classmethod
    async def launch(cls, settings: EmbeddedSettings, connections_max: int) -> "LlamaServer":
        key = secrets.token_urlsafe(32)
        told = msgspec.json.encode(ChildSettings(engine=settings, api_key=key, parent=os.getpid()))
        process = await Process.spawn([sys.executable, "-m", "millrace.engines.embedded.child"], told + b"\n")
        return cls(settings, process, key, connections_max)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        report = await self._report()
        if report.url is None:
            raise NotServingError(report.failure or "the child said nothing")
        self.answers = self._connect(report.url, self._connections_max)
        self.counting = self._connect(report.url, SMALL_CONNECTIONS_MAX)
        if report.embeddings_url is not None:
            self.vectors = self._connect(f"{report.embeddings_url}/v1", SMALL_CONNECTIONS_MAX)
        await self._examine(self.counting)

    async def gone(self) -> str:
        return f"model {self._settings.model!r}: {await self._process.gone()}"

    async def stop(self) -> None:
        await self._process.stop()
        clients, self._clients = self._clients, []
        for client in clients:
            await client.close()

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

    async def _examine(self, client: Client) -> None:
        settings = self._settings
        try:
            said = msgspec.json.decode(await client.get("/props"), type=Properties)
        except Refusal as refusal:
            raise NotServingError(f"model {settings.model!r}: {refusal.sentence}") from None
        made_for = said.default_generation_settings.n_ctx
        if made_for < settings.context_tokens:
            raise NotServingError(
                f"model {settings.model!r}: {settings.path} was made for a context of {made_for} tokens; "
                f"set context_tokens, now {settings.context_tokens}, to {made_for} or fewer"
            )
        self.template = said.chat_template_caps

    def _connect(self, url: str, connections_max: int) -> Client:
        """One connection a request: llama.cpp's server closes kept ones after a stream, or after 100 requests, unannounced,
        and a request sent into that moment is lost."""
        upstream = Upstream(model=self._settings.model, url=url, api_key=self._api_key)
        client = Client(upstream, connections_max=connections_max, keep_alive=False)
        self._clients.append(client)
        return client
