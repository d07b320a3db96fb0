"""Files as the OpenAI API shows them."""

from collections.abc import Sequence

from msgspec import Struct


class FileForm(Struct, frozen=True, kw_only=True):
    """A file that was sent."""

    id: str
    object: str = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str = "processed"


class FileList(Struct, frozen=True, kw_only=True):
    """Some of a tenant's files; with `has_more` there are others after `last_id`."""

    object: str = "list"
    data: Sequence[FileForm]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileDeleted(Struct, frozen=True, kw_only=True):
    """A file that is no more."""

    id: str
    object: str = "file"
    deleted: bool = True
