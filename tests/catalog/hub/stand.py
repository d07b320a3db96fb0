"""A hub and a home beside it."""

import asyncio
import json
import random
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.catalog.gguf import F32, PAIRS, Tensor, gguf, pair

from millrace.base.clock import FakeClock
from millrace.catalog.hub.door import Patience
from millrace.catalog.hub.fake import FakeHub, Repo
from millrace.catalog.hub.pull import Pulled, Puller
from millrace.catalog.hub.ref import parse_ref
from millrace.catalog.hub.show import Silent
from millrace.catalog.weights.weights import Weights

T = TypeVar("T")

PIECE: Final = 64 * 1024
"""Small pieces, so that a small file has several ranges."""


def gguf_file(values: int = 100, seed: int = 0) -> bytes:
    """A sound GGUF file with random weights, four bytes for each value."""
    whole = gguf((*PAIRS, pair("general.license", "apache-2.0")), [Tensor("w", (values,), F32, 4 * values)])
    return whole[: -4 * values] + random.Random(seed).randbytes(4 * values)


def safetensors(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """A sound safetensors file, filled with nought."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"\0" * at


CONFIG: Final = {
    "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 2048, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32, "head_dim": 8,
}  # fmt: skip

FOLDER: Final = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": safetensors({"a": (10, 4), "b": (8,)}),
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
    "README.md": b"---\nlicense: mit\n---\nA model.\n",
    "pytorch_model.bin": b"pickle",
    "modeling_evil.py": b"import os",
}
"""A repository of safetensors with what must not be taken from it."""

BIG: Final = gguf_file(100_000)
"""400 kB: seven pieces."""


class Told(Silent):
    """A Show that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.added = 0

    def add(self, path: str, count: int) -> None:  # noqa: ARG002 - the Show's
        self.added += count

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


class Stand:
    """A hub with one repository, and a store that pulls from it."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.hub = hub
        self.clock = FakeClock()
        self.weights = Weights(folder / "models")
        self.told = Told()
        self.environment = {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}

    def puller(self, **changes: Any) -> Puller:
        options: dict[str, Any] = {"piece_bytes": PIECE, "lanes": 4, "patience": Patience(attempts=4)}
        return Puller(self.weights, self.clock, self.environment, self.told, **{**options, **changes})

    async def pull(self, ref: str = "hf:acme/model", name: str | None = None, **changes: Any) -> Pulled:
        return await self.puller(**changes).pull(parse_ref(ref), name)

    def served(self, pulled: Pulled) -> bytes:
        """The content of the file that is to be loaded."""
        return self.weights.path(pulled.manifest).read_bytes()

    def partials(self) -> list[str]:
        return sorted(path.name for path in (self.weights.folder / "partial").iterdir())


def at_the_stand(folder: Path, work: Callable[[Stand], Awaitable[T]], files: Mapping[str, bytes] | None = None) -> T:
    """Run `work` with a hub that has the repository acme/model with these files, one big GGUF unless said."""

    async def run() -> T:
        async with FakeHub({"acme/model": Repo(dict(files or {"model-Q8_0.gguf": BIG, "README.md": b"# A model"}))}) as hub:
            return await work(Stand(folder, hub))

    return asyncio.run(run())
