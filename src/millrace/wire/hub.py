"""Published models over HTTP: lists in the form of the Hugging Face API, and our own form of pushing. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from millrace.base.times import render_time

POINTER_BYTES: Final = 134
"""What clients of the form expect of a file that lies outside of git; nobody reads it."""


class PushedFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a revision: path, SHA-256 of the content, bytes."""

    path: str
    sha256: str
    size: int


class RepositoryBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without `visibility` a new repository is private and an old one stays as it is."""

    visibility: Literal["private", "public"] | None = None


class MissingBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    files: list[PushedFile]


class CommitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`parent`: the newest commit as the sender knows it; null where there is none yet."""

    files: list[PushedFile]
    parent: str | None
    message: str = ""


class MissingFile(Struct, frozen=True, kw_only=True):
    """A content to send, from `offset` on."""

    sha256: str
    size: int
    offset: int


class MissingAnswer(Struct, frozen=True, kw_only=True):
    head: str | None
    missing: list[MissingFile]


class BlobAnswer(Struct, frozen=True, kw_only=True):
    """How much of a content is there; `whole`: all of it, and its hash is right."""

    sha256: str
    offset: int
    size: int
    whole: bool


class CommitAnswer(Struct, frozen=True, kw_only=True):
    id: str
    commit: str


REPOSITORY: Final = msgspec.json.Decoder(RepositoryBody)
MISSING: Final = msgspec.json.Decoder(MissingBody)
COMMIT: Final = msgspec.json.Decoder(CommitBody)


def model_info(
    *, owner: str, name: str, commit: str | None, private: bool, created_at: int, changed_at: int, pulls: int, size: int,
    files: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A repository as the form has it; `pulls` are its downloads."""
    info: dict[str, Any] = {
        "id": f"{owner}/{name}", "modelId": f"{owner}/{name}", "author": owner, "sha": commit, "private": private,
        "gated": False, "disabled": False, "createdAt": render_time(created_at), "lastModified": render_time(changed_at),
        "downloads": pulls, "downloadsAllTime": pulls, "likes": 0, "tags": [], "usedStorage": size,
    }  # fmt: skip
    return info if files is None else {**info, "siblings": list(files)}


def sibling(path: str, sha256: str, size: int, *, blobs: bool) -> dict[str, Any]:
    """A file in a repository's own answer; with `blobs` what it contains."""
    if not blobs:
        return {"rfilename": path}
    return {"rfilename": path, "size": size, "blobId": sha256[:40], "lfs": {**_lfs(size), "sha256": sha256}}


def tree_file(path: str, sha256: str, size: int) -> dict[str, Any]:
    return {"type": "file", "path": path, "oid": sha256[:40], "size": size, "lfs": {**_lfs(size), "oid": sha256}}


def tree_folder(path: str, oid: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": oid, "size": 0}


def _lfs(size: int) -> dict[str, Any]:
    return {"size": size, "pointerSize": POINTER_BYTES}
