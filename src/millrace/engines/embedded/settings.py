"""An embedded engine as it is declared, and what passes between it and its child process."""

from typing import Final, Literal

from msgspec import Struct

HTTP_THREADS: Final = 128
"""Of the child's HTTP server: llama.cpp holds one for each connection, also while its request waits for a slot."""

CONNECTIONS_MAX: Final = HTTP_THREADS - 16
"""Connections for answers; the other threads stay free to count prompts while all of them wait."""

SMALL_CONNECTIONS_MAX: Final = 12
"""Connections to count prompts, and as many to the second context, which makes vectors."""

Pooling = Literal["mean", "last", "cls", "model"]


class EmbeddedSettings(Struct, frozen=True, kw_only=True):
    """One GGUF file served by llama.cpp."""

    model: str
    path: str
    """The GGUF file."""
    adapter: str | None = None
    """The GGUF file of a LoRA adapter that is applied to it."""
    context_tokens: int
    """Prompt and answer together, of each request."""
    slots: int = 4
    """Requests in one batch; each has room for `context_tokens`. More wait inside the engine."""
    threads: int | None = None
    """None: what llama.cpp finds fit for the machine."""
    gpu_layers: int | None = None
    """None: as many as fit."""
    embeddings: bool = True
    """Make embeddings too: a second context over the same mapped weights."""
    embedding_tokens_max: int = 2048
    """The longest text to embed."""
    pooling: Pooling = "mean"
    """How a text's vector comes from those of its tokens; 'model' for files that say it themselves."""
    cache_mib: int = 256
    """Memory for the prompts of earlier requests, beside the slots."""
    log: str | None = None
    """File for what llama.cpp prints; None: none is kept but the last lines for `failure`."""
    log_bytes_max: int = 4 << 20
    """The log is emptied when it grows beyond."""
    load_timeout_s: float = 300.0


class ChildSettings(Struct, frozen=True, kw_only=True):
    """What the child reads as the first line of its standard input. The key is in no argument and no environment."""

    engine: EmbeddedSettings
    api_key: str
    parent: int
    """Process id, to notice a parent that died before the child could ask to be told."""

    def __repr__(self) -> str:
        return f"ChildSettings(engine={self.engine!r})"


class Report(Struct, frozen=True, kw_only=True):
    """What the child writes as the only line of its standard output: where it serves, or why it does not."""

    url: str | None = None
    embeddings_url: str | None = None
    failure: str | None = None
