"""A store of weights with something in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.catalog.weights.values import Manifest, StoredFile
from millrace.catalog.weights.weights import Weights


def put(weights: Weights, name: str, files: Mapping[str, bytes], **facts: Any) -> Manifest:
    """Add a model of these files, as a pull would."""
    manifest = Manifest(
        **{
            "name": name, "source": f"hf:acme/{name}", "revision": "c0ffee", "files": blobs(weights, files), "format": "gguf",
            "architecture": "qwen3", "parameters": 600, "context_tokens": 1024, "serves": next(iter(files)), "pulled_at": 1,
            **facts,
        }
    )  # fmt: skip
    weights.add(manifest)
    return manifest


def blobs(weights: Weights, files: Mapping[str, bytes]) -> tuple[StoredFile, ...]:
    """The files' contents as blobs."""
    weights.blobs.make()
    stored = []
    for path, content in files.items():
        source = weights.folder.parent / "incoming"
        source.write_bytes(content)
        sha256, size = weights.blobs.store(source)
        stored.append(StoredFile(path=path, sha256=sha256, size=size))
    return tuple(stored)


def there(folder: Path) -> list[str]:
    """Every file below a folder, without the locks."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "x.used")
    )
