"""A model on offer, as it is declared. Frozen, and without secrets: `api_key_env` only names where one is kept."""

import re
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

EngineKind = Literal["embedded", "remote", "fake"]

ENGINE_KINDS: Final[tuple[EngineKind, ...]] = ("embedded", "remote", "fake")

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
"""No spaces and no commas: names stand in comma-separated lists, addresses and log lines."""


class Model(Struct, frozen=True, kw_only=True):
    """One name on offer and the engine that serves it. Fields of other engines are None."""

    name: str
    engine: EngineKind
    context_tokens: int
    """Input and output of one request together."""
    max_output_tokens: int
    """Output of one request, also when the caller does not say how much."""
    slots: int
    """Requests that the engine works on at once; what comes above waits in the queue."""
    path: Path | None = None
    """embedded: the GGUF file."""
    pulled: str | None = None
    """embedded: the name of the pulled model whose file `path` is."""
    threads: int | None = None
    """embedded: threads of one forward pass; None: llama.cpp decides."""
    url: str | None = None
    """remote: the base address, with '/v1' and without a slash at the end."""
    upstream: str | None = None
    """remote: the model's name there."""
    api_key_env: str | None = None
    """remote: the environment variable that holds the secret for there; None: none is sent."""
    embeds: bool = False
    """remote: whether it makes embeddings; a server does not tell."""
    created: int = 0
    """Seconds since the epoch, for the public list of models; 0: not said."""
    owned_by: str = "millrace"
