"""A file that a tenant sent. Frozen: its end is a time in its row."""

from typing import Final

from msgspec import Struct

PURPOSE: Final = "fine-tune"
"""The only one that files are taken for."""


class StoredFile(Struct, frozen=True, kw_only=True):
    """`sha256` names its contents, which several files may have in common; times are nanoseconds."""

    id: str
    tenant_id: str
    project_id: str
    filename: str
    bytes: int
    sha256: str
    created_at: int
    purpose: str = PURPOSE
