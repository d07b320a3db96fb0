"""What a model's own files say of it, and what it needs to run."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from millrace.catalog.gguf_header import read_headers
from millrace.catalog.safetensors_header import licence_of, read_folder
from millrace.catalog.weights.values import Manifest

KV_BYTES: Final = 2
"""Of one number in the KV cache: llama.cpp keeps them as F16."""

OVERHEAD_BYTES: Final = 256 << 20
"""Besides weights and KV cache: the program, and what one forward pass computes with. A guess that is enough for
small models; large ones with long prompts need more."""


class Facts(Struct, frozen=True, kw_only=True):
    """What the files say."""

    architecture: str
    parameters: int
    context_tokens: int
    licence: str | None
    chat_template: bool
    kv_values: int | None


class Needs(Struct, frozen=True, kw_only=True):
    """An estimate of the memory that serving takes, in bytes."""

    weights: int
    kv_cache: int | None
    """For all slots with full contexts; None where the files do not say enough."""
    overhead: int = OVERHEAD_BYTES

    @property
    def total(self) -> int:
        return self.weights + (self.kv_cache or 0) + self.overhead


def read_facts(folder: Path, serves: tuple[str, ...]) -> Facts:
    """Of the model in a folder: the GGUF in these files, its parts in order, else its safetensors. Raises BAD_SETTING."""
    if serves:
        header = read_headers([folder / path for path in serves])
        return Facts(
            architecture=header.architecture, parameters=header.parameters, context_tokens=header.context_tokens,
            licence=header.licence or licence_of(folder), chat_template=header.chat_template, kv_values=header.kv_values,
        )  # fmt: skip
    found = read_folder(folder)
    return Facts(
        architecture=found.architecture, parameters=found.parameters, context_tokens=found.context_tokens,
        licence=found.licence, chat_template=found.chat_template, kv_values=found.kv_values,
    )  # fmt: skip


def needs_of(manifest: Manifest, context_tokens: int, slots: int) -> Needs:
    """To serve `slots` requests at once, each with a context of `context_tokens`."""
    kv_cache = None if manifest.kv_values is None else manifest.kv_values * KV_BYTES * context_tokens * slots
    weights = sum(file.size for file in manifest.files if file.path.lower().endswith((".gguf", ".safetensors")))
    return Needs(weights=weights, kv_cache=kv_cache)
