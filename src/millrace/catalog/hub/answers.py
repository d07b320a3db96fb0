"""Whether an answer is the bytes that were asked for, of the file that was begun."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.digest import Digest
from millrace.catalog.hub.door import Answer, shown
from millrace.catalog.hub.partial import About
from millrace.catalog.hub.piece import Piece
from millrace.catalog.hub.values import RemoteFile

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Changed(Exception):
    """The file at the source is not the one that was begun."""


class Whole(Exception):
    """The source gives no ranges: the file has to come in one piece."""


class Target(Struct, kw_only=True):
    """A file being fetched. What is learnt of its source while it is stands here too."""

    file: RemoteFile
    size: int
    about: About
    final: str | None = None
    """Where redirects led; asked first, so that the hub is asked once."""
    validator: str | None = None
    """ETag or date of the content there."""
    ranged: bool = True
    tagged: bool = True
    """Whether its tag is believed. The copies of one file on a content network may have several; then its hash decides."""


def check_answer(target: Target, piece: Piece, answer: Answer) -> None:
    """Whether the body is the bytes that were asked for, of the file that was begun. Learns where it is, and which it is.

    Raises Changed and Whole; CONFLICT when the hub itself now says that the file is another one.
    """
    if answer.linked_sha256 is not None and target.file.sha256 not in (None, answer.linked_sha256):
        raise Refusal(
            Reason.CONFLICT, f"{target.file.path} was replaced at its hub since its list was read; pull again", param="ref"
        )
    validator = validator_of(answer.headers) if target.tagged else None
    if target.validator is not None and validator not in (None, target.validator):
        raise Changed
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        if _content_range(answer.headers) != (piece.at, target.size):
            raise Changed
    elif piece.at > 0 or piece.end < target.size:
        raise Whole
    elif answer.headers.get("Content-Length", str(target.size)) != str(target.size):
        raise Changed
    target.validator = target.validator or validator
    target.final = answer.url


def validator_of(headers: Mapping[str, str]) -> str | None:
    """What If-Range can be asked with: a strong ETag, else the date of the last change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def total_of(headers: Mapping[str, str]) -> int | None:
    """The size of the whole file, from an answer with a part of it or with all of it."""
    found = _content_range(headers)
    if found is not None:
        return found[1]
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def known(file: RemoteFile) -> bool:
    """Whether its hub said what its content must be."""
    return file.sha256 is not None or file.git_sha1 is not None


def mismatch(file: RemoteFile, digest: Digest) -> str | None:
    """How the content differs from what the hub said it is, None where it does not."""
    if file.sha256 is not None and digest.sha256 != file.sha256:
        return f"SHA-256 {digest.sha256} instead of {file.sha256}"
    if file.git_sha1 is not None and digest.git_sha1 != file.git_sha1:
        return f"Git's SHA-1 {digest.git_sha1} instead of {file.git_sha1}"
    return None


def key_of(source: str, file: RemoteFile) -> str:
    """The name of a file under way: the same for the same content where that is known, else for the same address."""
    if file.sha256 is not None:
        return file.sha256
    said = file.git_sha1 or f"{source}\0{shown(file.url)}"
    return hashlib.sha256(f"{said}\0{file.path}".encode()).hexdigest()


def _content_range(headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Start and total of a Content-Range."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return (int(found[1]), int(found[3])) if found else None
