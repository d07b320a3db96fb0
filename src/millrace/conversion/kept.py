"""A conversion whose result is kept in the store of a home, as a model of its own beside the one that it was made of."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.choice import PAPERS
from millrace.catalog.hub.local import absolute
from millrace.catalog.hub.ref import PathRef, default_name
from millrace.catalog.hub.show import Show
from millrace.catalog.safetensors_header import licence_of
from millrace.catalog.weights.blobs import hash_file
from millrace.catalog.weights.durable import locked, store_errors, try_lock
from millrace.catalog.weights.facts import read_facts
from millrace.catalog.weights.values import CONVERTED, NAME, Manifest, StoredFile, check_name
from millrace.catalog.weights.weights import Weights
from millrace.conversion.convert import Conversion, Converted
from millrace.conversion.kinds import Kind

_PLACE: Final = "convert-"
_LOCK: Final = "lock"


class Origin(Struct, frozen=True, kw_only=True):
    """What is to be converted."""

    folder: Path
    given: str
    """A pulled model's name, or the folder's whole path."""
    name: str
    """What the model calls itself."""
    licence: str | None

    def kept_name(self, kind: Kind) -> str:
        """What the result is called unless the operator says."""
        return f"{self.name}-{kind}"


class Kept(Struct, frozen=True, kw_only=True):
    """What became of it."""

    manifest: Manifest
    made: Converted


def find_origin(weights: Weights, text: str) -> Origin:
    """A pulled model of that name, else the folder. Raises NOT_FOUND, and INVALID_REQUEST for what is GGUF already."""
    manifest = weights.get(text) if NAME.fullmatch(text) else None
    if manifest is not None:
        if manifest.serves is not None:
            raise Refusal(
                Reason.INVALID_REQUEST,
                f"{text!r} is GGUF already ({manifest.serves}), which cannot be converted further; pull the safetensors of "
                "that model",
                param="model",
            )
        return Origin(folder=weights.path(manifest), given=text, name=text, licence=manifest.licence)
    ref = absolute(PathRef(path=text))
    folder = Path(ref.path)
    if not folder.is_dir():
        there = ", ".join(one.name for one in weights.list() if one.serves is None) or "none"
        raise Refusal(
            Reason.NOT_FOUND, f"{text!r} is neither a folder nor a pulled model in safetensors form (there: {there})",
            param="model",
        )  # fmt: skip
    return Origin(folder=folder, given=ref.path, name=default_name(ref), licence=licence_of(folder))


def keep(weights: Weights, origin: Origin, name: str, kind: Kind, show: Show, now: int) -> Kept:
    """Convert into the store. Raises what `Conversion` does, and CONFLICT where the name belongs to something else."""
    source = f"{CONVERTED}:{kind}:{origin.given}"
    weights.own(check_name(name), source)
    conversion = Conversion(origin.folder, kind)
    weights.blobs.make()
    path = f"{name}.gguf"
    with _workplace(weights) as folder:
        show.begin(path, conversion.size, 0)
        made = conversion.run(folder / path, origin.name, partial(show.add, path))
        facts = read_facts(folder, (path,))
        stored = _adopt(weights, folder / path, show)
    manifest = Manifest(
        name=name, source=source, revision="", files=(stored, *_papers(weights, origin.folder)), format="gguf",
        architecture=facts.architecture, parameters=facts.parameters, context_tokens=facts.context_tokens,
        licence=origin.licence, chat_template=facts.chat_template, kv_values=facts.kv_values, serves=path, pulled_at=now,
    )  # fmt: skip
    weights.add(manifest)
    return Kept(manifest=manifest, made=made)


def _adopt(weights: Weights, file: Path, show: Show) -> StoredFile:
    size, shown = file.stat().st_size, f"{file.name}: SHA-256"
    show.begin(shown, size, 0)
    with store_errors(weights.folder), file.open("rb") as opened:
        sha256, _ = hash_file(opened.read, partial(show.add, shown))
    weights.blobs.adopt(file, sha256)
    return StoredFile(path=file.name, sha256=sha256, size=size)


def _papers(weights: Weights, folder: Path) -> list[StoredFile]:
    """Model card and licences go along with what is made of the weights."""
    found = []
    for file in sorted(folder.iterdir()):
        if PAPERS.fullmatch(file.name) and file.is_file():
            sha256, size = weights.blobs.store(file)
            found.append(StoredFile(path=file.name, sha256=sha256, size=size))
    return found


@contextmanager
def _workplace(weights: Weights) -> Iterator[Path]:
    """A folder of this process on the store's disk, gone afterwards; those that killed processes left go first."""
    with store_errors(weights.folder), locked(weights.folder / "lock"):
        for left in weights.blobs.partial.glob(f"{_PLACE}*"):
            nobody = try_lock(left / _LOCK)
            if nobody is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(nobody)
        folder = Path(tempfile.mkdtemp(prefix=_PLACE, dir=weights.blobs.partial))
        ours = try_lock(folder / _LOCK)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if ours is not None:
            os.close(ours)
