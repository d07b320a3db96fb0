"""What is known about a model whose files are here."""

import re
import shlex
from pathlib import PurePosixPath
from typing import Final, Literal

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal

Format = Literal["gguf", "safetensors"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""A pulled model's name is a file's and a folder's name too: no slash, no colon, no leading dot."""

SHA256: Final = re.compile(r"[0-9a-f]{64}")

PATH_CHARACTERS_MAX: Final = 512

CONVERTED: Final = "converted"
"""How the source begins of what was made here from other weights."""


class StoredFile(Struct, frozen=True, kw_only=True):
    """One file of a model: its path in the model's folder with '/' between, and what is in it."""

    path: str
    sha256: str
    size: int
    """Bytes."""


class Manifest(Struct, frozen=True, kw_only=True):
    """One model whose files are here."""

    name: str
    """What the operator calls it."""
    source: str
    """The REF that it was pulled from, without its revision; 'converted:KIND:NAME' or 'converted:KIND:FOLDER' for what was
    made here."""
    revision: str
    """The commit at the source; empty where it has none."""
    files: tuple[StoredFile, ...]
    format: Format
    architecture: str
    parameters: int
    context_tokens: int
    """What it was trained for."""
    licence: str | None = None
    chat_template: bool = False
    """Whether it says how a conversation is written for it."""
    kv_values: int | None = None
    """Numbers in the KV cache for each token of context, where the files say enough."""
    serves: str | None = None
    """Of a GGUF the path of the file to load (the first of a split one); None: the folder."""
    pulled_at: int
    """Nanoseconds since the epoch."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def again(self) -> str:
        """The command that brings its files once more."""
        made, _, rest = self.source.partition(":")
        if made != CONVERTED:
            return f"millrace model pull {shlex.quote(self.source)} --name {self.name}"
        kind, _, origin = rest.partition(":")
        return f"millrace model convert {shlex.quote(origin)} --kind {kind} --name {self.name}"


class Damage(Struct, frozen=True):
    """A file of a model that is not what its manifest says."""

    path: str
    what: str


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Raises BAD_SETTING, naming the file, for what is no manifest or leads out of the store."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
        check_manifest(manifest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refusal(Reason.BAD_SETTING, f"{where} is not a manifest of a pulled model: {error}") from None
    return manifest


def render_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def check_manifest(manifest: Manifest) -> None:
    """Raises ValueError for what must not become a path, or does not fit together."""
    if not NAME.fullmatch(manifest.name):
        raise ValueError(f"the name {manifest.name!r} cannot be a file's name")
    paths = [file.path for file in manifest.files]
    if not paths or len(set(paths)) != len(paths):
        raise ValueError("it needs files, each with a path of its own")
    for file in manifest.files:
        check_path(file.path)
        if not SHA256.fullmatch(file.sha256) or file.size < 0:
            raise ValueError(f"the file {file.path!r} has no SHA-256 or size")
    if manifest.serves is not None and manifest.serves not in paths:
        raise ValueError(f"{manifest.serves!r} is not one of its files")


def check_path(path: str) -> None:
    """Raises ValueError for a path that could lead out of its folder or surprise a terminal."""
    parts = PurePosixPath(path).parts
    plain = path.isprintable() and "\\" not in path and len(path) <= PATH_CHARACTERS_MAX
    if not plain or not parts or path != "/".join(parts) or path.startswith("/") or ".." in parts:
        raise ValueError(f"{path[:80]!r} is not a path inside a model's folder")


def check_name(name: str) -> str:
    """The name, where it can be one of a pulled model. Raises INVALID_REQUEST."""
    if not NAME.fullmatch(name):
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{name[:100]!r} cannot be the name of a pulled model: expected 1 to 100 letters, digits and . _ + -, "
            "with a letter or digit first",
            param="name",
        )
    return name
