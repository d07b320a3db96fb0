"""What a published model is, and what may be one: names, lists of files, commits. Pure.

Commit ids have 40 hexadecimal digits, since clients of Hugging Face's form tell a commit from a branch by that.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.weights.values import SHA256, StoredFile, check_path

MAIN: Final = "main"
"""The newest revision's other name."""

FILES_MAX: Final = 5000
"""Of one revision; the largest models have some hundred."""

SIZE_MAX: Final = 2**50
"""Bytes of one file: a thousand times the largest there is."""

NAME_BYTES_MAX: Final = 255
"""Of one part of a path, as file systems have it."""

MESSAGE_MAX: Final = 1000

COMMIT: Final = re.compile(r"[0-9a-f]{40}")

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")

PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"})

WEIGHTS: Final = (".gguf", ".safetensors")

_LATER_PART: Final = re.compile(r"-(?!00001-)\d{5}-of-\d{5}\.\w+$")


class Visibility(StrEnum):
    """Who sees a repository: its tenant, or everybody who reaches the server, with a key or without."""

    PRIVATE = "private"
    PUBLIC = "public"


class Repository(Struct, frozen=True, kw_only=True):
    """OWNER/NAME. The owner is its tenant's name, which is fit for an address and unique."""

    id: str
    tenant_id: str
    owner: str
    name: str
    visibility: Visibility
    created_at: int

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


class Revision(Struct, frozen=True, kw_only=True):
    """A list of files, never changed. `number` counts from 1; `parent` is the commit before it."""

    id: str
    repository_id: str
    number: int
    commit: str
    parent: str | None
    message: str
    created_at: int


class Listed(Struct, frozen=True, kw_only=True):
    """A repository in a list: its newest revision (None while it is empty) and how often it was pulled."""

    repository: Repository
    commit: str | None
    changed_at: int
    pulls: int
    size: int
    """Bytes of all files of the newest revision."""


def check_name(name: str) -> str:
    """Raises INVALID_REQUEST for what cannot be a repository's name."""
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"name: {name[:100]!r} cannot be a repository's name: expected 1 to 96 letters, digits and . _ - with a letter or "
            "digit at both ends, and neither '..' nor '--'",
            param="name",
        )
    return name


def check_files(files: Sequence[StoredFile]) -> tuple[StoredFile, ...]:
    """The files of a revision, by path. Raises INVALID_REQUEST, naming the file, for what must not be published."""
    if not 1 <= len(files) <= FILES_MAX:
        raise _refusal(f"a revision has 1 to {FILES_MAX} files, not {len(files)}")
    for file in files:
        _check_file(file)
    paths = {file.path for file in files}
    if len(paths) != len(files):
        raise _refusal("a path is there twice")
    for path in paths:
        if folder := next((str(above) for above in PurePosixPath(path).parents if str(above) in paths), None):
            raise _refusal(f"{folder!r} is a file and a folder")
    sizes: dict[str, int] = {}
    for file in files:
        if sizes.setdefault(file.sha256, file.size) != file.size:
            raise _refusal(f"{file.path!r} has another size than a file with the same SHA-256")
    return tuple(sorted(files, key=lambda file: file.path))


def check_message(message: str) -> str:
    """Raises INVALID_REQUEST for one that is too long or would confuse a terminal."""
    if len(message) > MESSAGE_MAX or not all(part.isprintable() for part in message.split("\n")):
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"message: at most {MESSAGE_MAX} characters, no control characters but line breaks",
            param="message",
        )
    return message


def commit_id(parent: str | None, files: Iterable[StoredFile]) -> str:
    """Of a list of files behind a commit: the same list at the same place has the same id."""
    digest = hashlib.sha256(f"commit {parent or ''}\n".encode())
    for file in files:
        digest.update(f"{file.sha256} {file.size} {file.path}\n".encode())
    return digest.hexdigest()[:40]


def serving_files(files: Sequence[StoredFile]) -> frozenset[str]:
    """The paths whose download counts as a pull.

    Each GGUF that is no later part of a split one; where there is none, the first safetensors; else the first file.
    """
    ggufs = [file.path for file in files if file.path.endswith(".gguf") and not _LATER_PART.search(file.path)]
    if ggufs:
        return frozenset(ggufs)
    weights = [file.path for file in files if file.path.endswith(".safetensors")]
    return frozenset((weights or [file.path for file in files])[:1])


def _check_file(file: StoredFile) -> None:
    try:
        check_path(file.path)
    except ValueError as error:
        raise _refusal(str(error)) from None
    if any(len(part.encode()) > NAME_BYTES_MAX for part in file.path.split("/")):
        raise _refusal(f"{file.path[:80]!r} has a name of more than {NAME_BYTES_MAX} bytes in it")
    if not SHA256.fullmatch(file.sha256) or not 0 <= file.size <= SIZE_MAX:
        raise _refusal(f"{file.path!r} has no SHA-256 (64 lower-case hexadecimal digits) or no size")
    if PurePosixPath(file.path).suffix.lower() in PICKLES:
        raise _refusal(
            f"{file.path!r} is a pickle by its name: such files run code when they are loaded; "
            "save the weights as safetensors or GGUF, and leave this file out"
        )


def _refusal(sentence: str) -> Refusal:
    return Refusal(Reason.INVALID_REQUEST, f"files: {sentence}", param="files")
