"""Published models in the database. Each function takes a transaction, so that several make one change.

What is not for the asker is refused in the words of what is not there (`no_repository`), before anything else is said of it.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.times import day_of
from millrace.catalog.published.values import COMMIT, MAIN, Listed, Repository, Revision, Visibility, check_name, commit_id
from millrace.catalog.weights.values import StoredFile
from millrace.store.named import Queries
from millrace.store.transaction import Tx
from millrace.tenants.values import Tenant

_SQL: Final = Queries("millrace.catalog.published")

REPOSITORIES_MAX: Final = 1000
"""Of one tenant; keeps an accident in a loop from filling every list."""

UPLOADS_MAX: Final = 20_000
"""Of one tenant, under way or not committed yet: four times the files of a revision."""

UNASKED: Final = ""
"""The reader without a key."""

_RESERVED: Final = "api"
"""An owner of this name could not be told from the API's own paths."""


def no_repository() -> Refusal:
    """The same for one that is another tenant's and for none."""
    return Refusal(
        Reason.NOT_FOUND, "there is no such model on this hub, or it is not for you; GET /hub/api/models lists what there is"
    )


def visible(tx: Tx, owner: str, name: str, reader: str) -> Repository:
    """What a reader (a tenant's id, or UNASKED) may pull. Raises NOT_FOUND."""
    row = tx.row(_SQL["visible_repository"], owner=owner, name=name, reader=reader)
    if row is None:
        raise no_repository()
    return _repository(row)


def owned(tx: Tx, owner: str, name: str, tenant: Tenant) -> Repository:
    """What a tenant may change. Raises NOT_FOUND."""
    found = existing(tx, owner, name) if owner == tenant.name else None
    if found is None:
        raise no_repository()
    return found


def existing(tx: Tx, owner: str, name: str) -> Repository | None:
    """Whoever's it is: for the operator."""
    row = tx.row(_SQL["repository"], owner=owner, name=name)
    return None if row is None else _repository(row)


def make(tx: Tx, ids: Ids, at: int, tenant: Tenant, name: str, visibility: Visibility | None) -> tuple[Repository, bool]:
    """The tenant's repository of that name, and whether it is new: then private unless it is said otherwise.

    One that is there gets the visibility, where one is given. Raises INVALID_REQUEST for a name that is none.
    """
    tx.rows(_SQL["lock_tenant"], tenant_id=tenant.id)
    found = existing(tx, tenant.name, check_name(name))
    if found is not None:
        if visibility is not None:
            show(tx, found, visibility)
        return _of(tx, tenant, name), False
    if tenant.name == _RESERVED or tx.rows(_SQL["repositories_of"], tenant_id=tenant.id)[0][0] >= REPOSITORIES_MAX:
        raise Refusal(
            Reason.CONFLICT,
            f"tenant {tenant.name!r} can have no more repositories: {REPOSITORIES_MAX} at most, a tenant {_RESERVED!r} none",
        )
    tx.run(
        _SQL["add_repository"], id=ids.new("repo"), tenant_id=tenant.id, name=name, created_at=at,
        visibility=(visibility or Visibility.PRIVATE).value,
    )  # fmt: skip
    return _of(tx, tenant, name), True


def show(tx: Tx, repository: Repository, visibility: Visibility) -> None:
    """From now on to these."""
    tx.run(_SQL["set_visibility"], id=repository.id, visibility=visibility.value)


def listed(tx: Tx, reader: str, *, search: str = "", owner: str = "", limit: int, every: bool = False) -> list[Listed]:
    """By name, what a reader may see and has files, and all of his own; `every`: all there is, for the operator."""
    plain = search.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = tx.rows(
        _SQL["list"], reader=reader, pattern=f"%{plain}%", owner=owner, limit=limit, every=int(every),
    )  # fmt: skip
    return [
        Listed(repository=_repository(row[:6]), commit=row[6], changed_at=row[7], pulls=int(row[8]), size=int(row[9]))
        for row in rows
    ]


def head(tx: Tx, repository: Repository) -> Revision | None:
    """The newest revision; None of an empty repository."""
    row = tx.row(_SQL["head"], repository_id=repository.id)
    return None if row is None else _revision(row)


def revision(tx: Tx, repository: Repository, name: str) -> Revision | None:
    """By 'main' or a whole commit id."""
    if name == MAIN:
        return head(tx, repository)
    row = tx.row(_SQL["revision"], repository_id=repository.id, commit_id=name) if COMMIT.fullmatch(name) else None
    return None if row is None else _revision(row)


def files(tx: Tx, one: Revision) -> tuple[StoredFile, ...]:
    """Of a revision, by path."""
    return tuple(StoredFile(path=row[0], sha256=row[1], size=row[2]) for row in tx.rows(_SQL["files"], revision_id=one.id))


def known(tx: Tx, tenant: Tenant, hashes: Collection[str]) -> frozenset[str]:
    """Contents that the tenant may name without sending them. Another's private one is not among them, though it is here."""
    return frozenset(row[0] for row in tx.rows(_SQL["known"], tenant_id=tenant.id, hashes=sorted(hashes)))


def check_quota(tx: Tx, tenant: Tenant, more: Sequence[StoredFile], quota: int) -> None:
    """Raises CONFLICT where these, as far as they are new to the tenant, are more than fits its quota."""
    tx.rows(_SQL["lock_tenant"], tenant_id=tenant.id)
    sizes = {file.sha256: file.size for file in more}
    mine = {row[0] for row in tx.rows(_SQL["owned"], tenant_id=tenant.id, hashes=sorted(sizes))}
    has, needs = stored(tx, tenant.id), sum(size for sha256, size in sizes.items() if sha256 not in mine)
    if has + needs > quota:
        raise Refusal(
            Reason.CONFLICT,
            f"{needs} bytes more do not fit: tenant {tenant.name!r} has {has} of {quota} bytes on this hub; remove what is "
            "not needed ('millrace hub remove'), or ask the operator to raise hub.quota_bytes",
        )


def stored(tx: Tx, tenant_id: str) -> int:
    """Bytes that count towards a tenant's quota."""
    return int(tx.rows(_SQL["stored"], tenant_id=tenant_id)[0][0])


def add(
    tx: Tx, ids: Ids, at: int, *, repository: Repository, parent: str | None, listing: Sequence[StoredFile], message: str
) -> Revision:
    """The next revision. Raises CONFLICT where the newest is not `parent`: then somebody else was faster, and nothing is lost.

    The same list again changes nothing and is answered with the revision that has it.
    """
    if not tx.rows(_SQL["lock_repository"], id=repository.id):
        raise no_repository()
    newest = head(tx, repository)
    if newest is not None and files(tx, newest) == tuple(listing):
        return newest
    commit = None if newest is None else newest.commit
    if commit != parent:
        raise Refusal(
            Reason.CONFLICT,
            f"{repository.full_name} was changed meanwhile: its newest commit is {commit or 'none'}, not {parent or 'none'}; "
            "look at it and push again",
        )
    made = Revision(
        id=ids.new("rev"), repository_id=repository.id, number=1 if newest is None else newest.number + 1,
        commit=commit_id(parent, listing), parent=parent, message=message, created_at=at,
    )  # fmt: skip
    tx.run(
        _SQL["add_revision"], id=made.id, repository_id=repository.id, number=made.number, commit_id=made.commit,
        parent=parent, message=message, created_at=at,
    )  # fmt: skip
    rows = [(made.id, file.path, file.sha256, file.size) for file in listing]
    tx.insert("hub_file", ("revision_id", "path", "sha256", "size"), rows)
    hashes = sorted({file.sha256 for file in listing})
    tx.run(_SQL["end_uploads"], tenant_id=repository.tenant_id, hashes=hashes)
    return made


def remove(tx: Tx, repository: Repository) -> frozenset[str]:
    """Take all of it away; the contents that it named."""
    tx.rows(_SQL["lock_repository"], id=repository.id)
    contents = frozenset(row[0] for row in tx.rows(_SQL["contents_of"], repository_id=repository.id))
    for statement in ("delete_files", "delete_revisions", "delete_pulls", "delete_repository"):
        tx.run(_SQL[statement], repository_id=repository.id)
    return contents


def begin_upload(tx: Tx, at: int, tenant: Tenant, sha256: str, size: int) -> None:
    """From now on the content is named, so that nobody removes it. Raises CONFLICT where there are too many."""
    if tx.rows(_SQL["uploads_of"], tenant_id=tenant.id)[0][0] >= UPLOADS_MAX:
        raise Refusal(Reason.CONFLICT, f"{UPLOADS_MAX} files were sent and not committed; commit them, or wait until they go")
    tx.run(_SQL["begin_upload"], tenant_id=tenant.id, sha256=sha256, size=size, at=at)


def upload_size(tx: Tx, tenant: Tenant, sha256: str) -> int | None:
    """Of what the tenant is sending; None where it is not."""
    row = tx.row(_SQL["upload"], tenant_id=tenant.id, sha256=sha256)
    return None if row is None or row[1] is not None else int(row[0])


def whole_upload(tx: Tx, at: int, tenant: Tenant, sha256: str) -> None:
    tx.run(_SQL["whole_upload"], tenant_id=tenant.id, sha256=sha256, at=at)


def end_upload(tx: Tx, tenant_id: str, sha256: str) -> None:
    tx.run(_SQL["end_upload"], tenant_id=tenant_id, sha256=sha256)


def stale_uploads(tx: Tx, before: int) -> list[tuple[str, str]]:
    """Tenant and content of what nobody touched since."""
    return [(row[0], row[1]) for row in tx.rows(_SQL["stale_uploads"], before=before)]


def named(tx: Tx, hashes: Collection[str]) -> frozenset[str]:
    """Those that anybody's revision or upload still names."""
    return frozenset(row[0] for row in tx.rows(_SQL["named"], hashes=sorted(hashes))) if hashes else frozenset()


def contents(tx: Tx) -> dict[str, int]:
    """Size by SHA-256 of all that is published."""
    return {row[0]: int(row[1]) for row in tx.rows(_SQL["contents"])}


def count_pull(tx: Tx, at: int, repository: Repository, reader: str) -> None:
    """One more pull, on the UTC day of `at`."""
    tx.run(_SQL["count_pull"], repository_id=repository.id, day=day_of(at), tenant_id=reader)


def pulls(tx: Tx, repository: Repository) -> int:
    return int(tx.rows(_SQL["pulls"], repository_id=repository.id)[0][0])


def _of(tx: Tx, tenant: Tenant, name: str) -> Repository:
    found = existing(tx, tenant.name, name)
    assert found is not None
    return found


def _repository(row: Sequence[Any]) -> Repository:
    return Repository(
        id=row[0], tenant_id=row[1], owner=row[2], name=row[3], visibility=Visibility(row[4]), created_at=row[5]
    )


def _revision(row: Sequence[Any]) -> Revision:
    return Revision(
        id=row[0], repository_id=row[1], number=row[2], commit=row[3], parent=row[4], message=row[5], created_at=row[6]
    )
