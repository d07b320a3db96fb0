"""A remote engine as it is declared."""

from typing import Final

from msgspec import Struct

from millrace.engines.upstream.client import Timeouts
from millrace.generation.order import Sampling

EVERY_PARAMETER: Final = frozenset(Sampling.__struct_fields__)
"""What vLLM and SGLang obey. A server that knows less refuses by name, or is declared with a shorter list."""


class RemoteSettings(Struct, frozen=True, kw_only=True):
    """Where a model is served. Its repr does not show the key."""

    model: str
    url: str
    """Base URL with the version, as OpenAI's SDK takes it: `http://10.0.0.7:8001/v1`."""
    upstream: str
    """The model's name over there."""
    api_key: str | None = None
    honours: frozenset[str] = EVERY_PARAMETER
    embeds: bool = False
    """Whether the model makes embeddings; a server does not tell."""
    connections_max: int = 1024
    """Streams at a time; more wait for a connection. An engine holds fewer than this in its batch."""
    timeouts: Timeouts = Timeouts()
    probe_path: str = "/models"
    """What answers 200 while the server is up, below `url`."""
    probe_every_s: float = 5.0
    template_tokens_max: int = 512
    """The most that a chat template adds on its own (system text, tool instructions, date); for `measure`."""

    def __repr__(self) -> str:
        return f"RemoteSettings(model={self.model!r}, url={self.url!r}, upstream={self.upstream!r})"
