"""What a hub says, before any of it is believed."""

from msgspec import Struct


class RemoteFile(Struct, frozen=True, kw_only=True):
    """One file that a source offers, with what is known of its content."""

    path: str
    url: str
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    git_sha1: str | None = None
    """What Git calls its content: SHA-1 of 'blob <size>\\0' and the content."""


class Listing(Struct, frozen=True, kw_only=True):
    """A repository at one revision."""

    revision: str
    """The commit, where the hub tells it."""
    files: tuple[RemoteFile, ...]
    licence: str | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """The files to fetch, and why these."""

    format: str
    files: tuple[RemoteFile, ...]
    serves: str | None
    why: str
    others: tuple[str, ...] = ()
    """Other models of the same source, by the file that one would name."""
