"""Stored files in the database. Each function takes a transaction, so that several make one change."""

from typing import Any, Final

from millrace.base.errors import Reason, Refusal
from millrace.store.named import Queries
from millrace.store.transaction import Tx
from millrace.tuning.files.values import StoredFile

_SQL = Queries("millrace.tuning.files")

_LAST: Final = 2**63 - 1


def add(tx: Tx, file: StoredFile, quota_bytes: int) -> None:
    """Note a file whose contents are in their place. Refused where the tenant's files would come to more than the quota."""
    taken = int(tx.rows(_SQL["taken"], tenant_id=file.tenant_id)[0][0])
    if taken + file.bytes > quota_bytes:
        raise Refusal(
            Reason.REQUEST_TOO_LARGE,
            f"this file has {file.bytes} bytes and your others {taken}; all of a tenant's may have {quota_bytes}; delete some",
        )
    tx.run(
        _SQL["add"], id=file.id, tenant_id=file.tenant_id, project_id=file.project_id, purpose=file.purpose,
        filename=file.filename, bytes=file.bytes, sha256=file.sha256, created_at=file.created_at,
    )  # fmt: skip


def find(tx: Tx, tenant_id: str, file_id: str, *, param: str | None = None) -> StoredFile:
    """The tenant's file; raises NOT_FOUND, for another tenant's as for none."""
    row = tx.row(_SQL["find"], id=file_id, tenant_id=tenant_id)
    if row is None:
        raise Refusal(Reason.NOT_FOUND, f"there is no file {file_id[:80]!r}; GET /v1/files lists yours", param=param)
    return _file(row)


def of_job(tx: Tx, file_id: str) -> StoredFile:
    """A file that a job names."""
    row = tx.row(_SQL["of_job"], id=file_id)
    assert row is not None, f"a job names the file {file_id}, which is not there"
    return _file(row)


def page(tx: Tx, tenant_id: str, limit: int, after: StoredFile | None = None, *, upward: bool = False) -> list[StoredFile]:
    """The tenant's files after one of them: newest first, or oldest first."""
    start = (0, "") if upward else (_LAST, "")
    at, id_ = start if after is None else (after.created_at, after.id)
    query = _SQL["page_upward" if upward else "page"]
    return [_file(row) for row in tx.rows(query, tenant_id=tenant_id, before_at=at, before_id=id_, rows=limit)]


def delete(tx: Tx, file: StoredFile, at: int) -> None:
    """End it. Refused with CONFLICT while a job that is not over needs it."""
    user = tx.row(_SQL["used_by"], id=file.id)
    if user is not None:
        raise Refusal(Reason.CONFLICT, f"job {user[0]} needs the file {file.id}; cancel the job or wait for its end first")
    tx.run(_SQL["delete"], id=file.id, at=at)


def contents_in_use(tx: Tx) -> frozenset[str]:
    """The SHA-256 of all contents that a file still has."""
    return frozenset(row[0] for row in tx.rows(_SQL["in_use"]))


def _file(row: tuple[Any, ...]) -> StoredFile:
    return StoredFile(
        id=row[0], tenant_id=row[1], project_id=row[2], filename=row[3], bytes=row[4], sha256=row[5], created_at=row[6],
        purpose=row[7],
    )  # fmt: skip
