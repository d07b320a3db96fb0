"""The connections to a running llama.cpp, whoever launched it: where it is, what its template can say, one client a purpose."""

import msgspec
from msgspec import Struct

from millrace.base.errors import Refusal
from millrace.engines.embedded.settings import CONNECTIONS_MAX, SMALL_CONNECTIONS_MAX, EmbeddedSettings
from millrace.engines.supervisor import NotServingError
from millrace.engines.upstream.client import Client, Upstream


class TemplateCapabilities(Struct, frozen=True):
    """What the chat template of a file can express, as llama.cpp finds by trying it."""

    supports_tools: bool = False
    supports_tool_calls: bool = False
    supports_parallel_tool_calls: bool = False
    supports_reasoning_effort: bool = False


class Place(Struct, frozen=True, kw_only=True):
    """Where a llama.cpp serves and the key that it asks for. Its repr shows no key."""

    url: str
    embeddings_url: str | None
    api_key: str

    def __repr__(self) -> str:
        return f"Place(url={self.url!r})"


class _Defaults(Struct, frozen=True):
    n_ctx: int = 0


class _Properties(Struct, frozen=True):
    """What GET /props says of the loaded model."""

    default_generation_settings: _Defaults = _Defaults()
    chat_template_caps: TemplateCapabilities = TemplateCapabilities()


class Links:
    """The clients of one llama.cpp. Its HTTP server has a fixed number of threads, so of `sharers` processes that use it
    each takes its share of the connections."""

    def __init__(self, settings: EmbeddedSettings, place: Place, sharers: int = 1) -> None:
        self._settings = settings
        self._clients: list[Client] = []
        self.place = place
        self.template = TemplateCapabilities()
        self.answers = self._connect(place, place.url, max(1, CONNECTIONS_MAX // sharers))
        self.counting = self._connect(place, place.url, max(1, SMALL_CONNECTIONS_MAX // sharers))
        self.vectors: Client | None = None
        if place.embeddings_url is not None:
            self.vectors = self._connect(place, f"{place.embeddings_url}/v1", max(1, SMALL_CONNECTIONS_MAX // sharers))

    async def examine(self) -> None:
        """Learn what the file is made for. Raises NotServingError when it is not what was declared."""
        settings = self._settings
        try:
            said = msgspec.json.decode(await self.counting.get("/props"), type=_Properties)
        except Refusal as refusal:
            raise NotServingError(f"model {settings.model!r}: {refusal.sentence}") from None
        made_for = said.default_generation_settings.n_ctx
        if made_for < settings.context_tokens:
            raise NotServingError(
                f"model {settings.model!r}: {settings.path} was made for a context of {made_for} tokens; "
                f"set context_tokens, now {settings.context_tokens}, to {made_for} or fewer"
            )
        self.template = said.chat_template_caps

    async def close(self) -> None:
        """Close every connection; what runs on them breaks off."""
        clients, self._clients = self._clients, []
        for client in clients:
            await client.close()

    def _connect(self, place: Place, url: str, connections_max: int) -> Client:
        """One connection a request: llama.cpp's server closes kept ones after a stream, or after 100 requests, unannounced,
        and a request sent into that moment is lost."""
        upstream = Upstream(model=self._settings.model, url=url, api_key=place.api_key)
        client = Client(upstream, connections_max=connections_max, keep_alive=False)
        self._clients.append(client)
        return client
