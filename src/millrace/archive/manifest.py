"""What an archive says of itself: the schema of its tables, how many rows and bytes each part has, and their hashes.

An archive is a ZIP file. `tables/<name>.jsonl` has a JSON array for each row (bytes in base64, integers exact),
`files/…` what lay in the home folder, `manifest.json` this. It is written last, so that a file without it is half of one.
"""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.store.tables import Column

FORMAT: Final = "millrace-backup"
VERSION: Final = 1
"""Of the form of archives; the tables in it have a version of their own, the schema's."""

NAME: Final = "manifest.json"

MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024
"""A hundred times what a home with a full journal has; a larger one is not a manifest."""


class Part(Struct, frozen=True, kw_only=True):
    """One member of the archive; `size` in bytes, not compressed."""

    member: str
    size: int
    sha256: str


class TablePart(Part, frozen=True, kw_only=True):
    """The rows of a table."""

    table: str
    columns: tuple[Column, ...]
    rows: int


class ChainHead(Struct, frozen=True, kw_only=True):
    """Where a hash chain of the ledger stood: whoever has these can tell later whether the books were rewritten."""

    number: int
    length: int
    head: str


class Manifest(Struct, frozen=True, kw_only=True):
    """`schema` is the number of the last migration; tables stand in an order in which their rows can be added."""

    format: str
    version: int
    made_at: str
    made_by: str
    schema: int
    chains: tuple[ChainHead, ...]
    tables: tuple[TablePart, ...]
    files: tuple[Part, ...]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.files, *self.tables)


def render_manifest(manifest: Manifest) -> bytes:
    """The same bytes for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def digest(manifest: Manifest) -> str:
    """The SHA-256 that names an archive: it covers the hash of each part."""
    return hashlib.sha256(render_manifest(manifest)).hexdigest()


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Raises a Refusal that calls the archive `where`."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise damaged(where, f"its manifest cannot be read: {error}") from None
    if manifest.format != FORMAT or manifest.version > VERSION:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{where} is an archive of the form {manifest.format[:40]} {manifest.version}, which this version cannot read; "
            "restore it with the version that made it",
        )
    return manifest


def damaged(where: str, why: str) -> Refusal:
    """Nothing is taken from an archive that is not whole."""
    return Refusal(Reason.CONFLICT, f"{where} is damaged or no backup: {why}; take another backup")
