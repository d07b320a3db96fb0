"""Tenants, projects and keys in the database. Each function takes a transaction, so that several make one change."""

import re
from collections.abc import Collection
from typing import Any, Final

from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.money import MAX_NANO, parse_currency
from millrace.base.times import render_time
from millrace.store.named import Queries
from millrace.store.transaction import Tx
from millrace.tenants.secret import PREFIX, Secret, new_secret, sha256_of
from millrace.tenants.values import Caller, Key, Mode, Project, Revocation, Scope, Suspension, Tenant

_SQL = Queries("millrace.tenants")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_MODEL = re.compile(r"[^\s,]{1,128}")

MODELS_MAX: Final = 100
"""Models that one key can be limited to: the list is read with each authentication."""

PER_MINUTE_MAX: Final = 10**12
"""Far above what one machine makes; keeps a typing error from reading as 'no limit'."""

REASON_LENGTH_MAX: Final = 500
"""Characters of the reason of a suspension or revocation: a sentence or two for whoever asks later."""

EVERY_SCOPE: Final = frozenset(Scope)

Row = tuple[Any, ...]


def create_tenant(
    tx: Tx, ids: Ids, at: int, *, name: str, mode: Mode = Mode.PREPAID, currency: str = "CNY", credit_limit: int = 0
) -> Tenant:
    """A tenant of that name. Raises INVALID_REQUEST for a bad value, CONFLICT when there is one of that name."""
    tenant = Tenant(
        id=ids.new("ten"), name=_name(name, "tenant"), mode=mode, currency=parse_currency(currency),
        credit_limit=_credit_limit(credit_limit, mode), created_at=at, suspended=False,
    )
    if tx.row(_SQL["tenant_by_name"], name=name):
        raise Refusal(
            Reason.CONFLICT,
            f"there is a tenant {name!r} already; choose another name or see 'millrace tenant show {name}'",
            param="name",
        )
    tx.run(
        _SQL["add_tenant"], id=tenant.id, name=tenant.name, mode=tenant.mode.value, currency=tenant.currency,
        credit_limit=tenant.credit_limit, created_at=at,
    )
    return tenant


def tenant_named(tx: Tx, name: str) -> Tenant:
    """Raises NOT_FOUND for an unknown name."""
    row = tx.row(_SQL["tenant_by_name"], name=name)
    if row is None:
        raise Refusal(
            Reason.NOT_FOUND, f"there is no tenant {name[:80]!r}; 'millrace tenant list' shows them all", param="tenant"
        )
    return _tenant(row)


def tenant_with_id(tx: Tx, tenant_id: str) -> Tenant:
    """Raises NOT_FOUND for an unknown id."""
    row = tx.row(_SQL["tenant_by_id"], id=tenant_id)
    if row is None:
        raise Refusal(
            Reason.NOT_FOUND,
            f"there is no tenant {tenant_id[:80]!r}; 'millrace tenant list' shows them all",
            param="tenant",
        )
    return _tenant(row)


def tenants(tx: Tx) -> list[Tenant]:
    """All, by name."""
    return [_tenant(row) for row in tx.rows(_SQL["tenants"])]


def suspend(tx: Tx, ids: Ids, at: int, *, tenant: Tenant, reason: str) -> Suspension:
    """Refuse the tenant service from now on; its running answers end as they would. A second time changes nothing."""
    why = _reason(reason)
    standing = tx.row(_SQL["open_suspension"], tenant_id=tenant.id)
    if standing is not None:
        return _suspension(standing)
    suspension = Suspension(id=ids.new("sus"), tenant_id=tenant.id, reason=why, at=at, lifted_at=None)
    tx.run(_SQL["add_suspension"], id=suspension.id, tenant_id=tenant.id, reason=why, at=at)
    return suspension


def resume(tx: Tx, at: int, *, tenant: Tenant) -> Suspension:
    """Lift the suspension that stands, and return it. Raises CONFLICT when there is none."""
    row = tx.row(_SQL["lift_suspension"], tenant_id=tenant.id, at=at)
    if row is None:
        raise Refusal(Reason.CONFLICT, f"tenant {tenant.name!r} is not suspended")
    return _suspension(row)


def suspensions(tx: Tx, tenant: Tenant) -> list[Suspension]:
    """The tenant's history, oldest first."""
    return [_suspension(row) for row in tx.rows(_SQL["suspensions"], tenant_id=tenant.id)]


def create_project(tx: Tx, ids: Ids, at: int, *, tenant: Tenant, name: str) -> Project:
    """Raises INVALID_REQUEST for a bad name, CONFLICT when the tenant has one of that name."""
    project = Project(id=ids.new("proj"), tenant_id=tenant.id, name=_name(name, "project"), created_at=at)
    if tx.row(_SQL["project_by_name"], tenant_id=tenant.id, name=name):
        raise Refusal(
            Reason.CONFLICT,
            f"tenant {tenant.name!r} has a project {name!r} already; choose another name",
            param="project",
        )
    tx.run(_SQL["add_project"], id=project.id, tenant_id=tenant.id, name=name, created_at=at)
    return project


def find_or_create_project(tx: Tx, ids: Ids, at: int, *, tenant: Tenant, name: str = "default") -> Project:
    """The tenant's project of that name, made now if it is the first mention of it."""
    row = tx.row(_SQL["project_by_name"], tenant_id=tenant.id, name=name)
    return _project(row) if row else create_project(tx, ids, at, tenant=tenant, name=name)


def projects(tx: Tx, tenant: Tenant) -> list[Project]:
    """The tenant's, by name."""
    return [_project(row) for row in tx.rows(_SQL["projects"], tenant_id=tenant.id)]


def create_key(
    tx: Tx, ids: Ids, at: int, *, project: Project, scopes: Collection[Scope] = EVERY_SCOPE,
    models: Collection[str] | None = None, rpm: int | None = None, tpm: int | None = None, budget: int | None = None,
) -> tuple[Key, Secret]:
    """A key and its secret, which exists only in this answer: what is stored is its hash. Raises INVALID_REQUEST."""
    key = Key(
        id=ids.new("key"), project_id=project.id, scopes=_scopes(scopes), models=_models(models),
        rpm=_per_minute(rpm, "rpm"), tpm=_per_minute(tpm, "tpm"), budget=_budget(budget),
        created_at=at, revoked_at=None,
    )
    secret = new_secret()
    tx.run(
        _SQL["add_key"], id=key.id, project_id=project.id, sha256=sha256_of(secret),
        scopes=",".join(sorted(key.scopes)), models=None if key.models is None else ",".join(sorted(key.models)),
        rpm=rpm, tpm=tpm, budget=budget, created_at=at,
    )
    return key, secret


def keys(tx: Tx, tenant: Tenant) -> list[Key]:
    """All keys of a tenant, the revoked ones too, oldest first."""
    return [_key(row) for row in tx.rows(_SQL["keys"], tenant_id=tenant.id)]


def key_with_id(tx: Tx, key_id: str) -> Key:
    """Raises NOT_FOUND for an unknown id."""
    row = tx.row(_SQL["key_by_id"], id=key_id)
    if row is None:
        raise _no_key(key_id)
    return _key(row)


def revoke(tx: Tx, at: int, *, key_id: str, reason: str) -> Revocation:
    """End a key for good. A second time changes nothing and says when it was. Raises NOT_FOUND for an unknown id."""
    why = _reason(reason)
    if tx.row(_SQL["key_by_id"], id=key_id) is None:
        raise _no_key(key_id)
    row = tx.row(_SQL["revocation"], key_id=key_id)
    if row is not None:
        return Revocation(key_id=row[0], reason=row[1], at=row[2], repeated=True)
    tx.run(_SQL["add_revocation"], key_id=key_id, reason=why, at=at)
    return Revocation(key_id=key_id, reason=why, at=at, repeated=False)


def caller_with_sha256(tx: Tx, sha256: str) -> Caller | None:
    """Whom a secret with this hash names; None when nobody, or when the key was revoked."""
    row = tx.row(_SQL["caller_by_sha256"], sha256=sha256)
    return None if row is None else Caller(tenant=_tenant(row[:7]), project=_project(row[7:11]), key=_key(row[11:]))


def describe_revocation(revocation: Revocation) -> str:
    """The sentence for whoever revoked."""
    if revocation.repeated:
        return f"key {revocation.key_id} was revoked before, at {render_time(revocation.at)} ({revocation.reason})"
    return f"key {revocation.key_id} is revoked; servers refuse it within a second"


def _no_key(key_id: str) -> Refusal:
    if key_id.startswith(PREFIX):
        sentence = "this is the secret of a key; give its id, which begins with 'key_' ('millrace key list' shows it)"
        return Refusal(Reason.NOT_FOUND, sentence, param="key")
    return Refusal(
        Reason.NOT_FOUND, f"there is no key {key_id[:80]!r}; 'millrace key list' shows the ids", param="key"
    )


def _name(text: str, of: str) -> str:
    if not _NAME.fullmatch(text):
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"name: {text[:80]!r} is not a name for a {of}; use 1 to 63 of a-z, 0-9, '-', '_' and '.', "
            "with a letter or digit at both ends, such as acme-2",
            param="name",
        )
    return text


def _credit_limit(nano: int, mode: Mode) -> int:
    if not 0 <= nano <= MAX_NANO:
        raise Refusal(Reason.INVALID_REQUEST, "credit_limit: must be 0 or more", param="credit_limit")
    if nano and mode is not Mode.POSTPAID:
        raise Refusal(
            Reason.INVALID_REQUEST,
            "credit_limit: only a postpaid tenant has one; a prepaid one spends what it was granted",
            param="credit_limit",
        )
    return nano


def _scopes(scopes: Collection[Scope]) -> frozenset[Scope]:
    if not scopes:
        raise Refusal(
            Reason.INVALID_REQUEST, f"scopes: a key needs at least one of {', '.join(sorted(Scope))}", param="scopes"
        )
    return frozenset(scopes)


def _models(models: Collection[str] | None) -> frozenset[str] | None:
    if models is None:
        return None
    if not 1 <= len(models) <= MODELS_MAX:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"models: name 1 to {MODELS_MAX} models, or none at all for every model",
            param="models",
        )
    for name in models:
        if not _MODEL.fullmatch(name):
            raise Refusal(
                Reason.INVALID_REQUEST,
                f"models: {name[:80]!r} is not a model's name (no spaces, no commas)",
                param="models",
            )
    return frozenset(models)


def _per_minute(limit: int | None, param: str) -> int | None:
    if limit is not None and not 1 <= limit <= PER_MINUTE_MAX:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{param}: {limit} is out of range; give 1 to {PER_MINUTE_MAX}, or nothing for no limit",
            param=param,
        )
    return limit


def _budget(nano: int | None) -> int | None:
    if nano is not None and not 0 <= nano <= MAX_NANO:
        raise Refusal(
            Reason.INVALID_REQUEST, "budget: must be an amount of 0 or more, or nothing for no limit", param="budget"
        )
    return nano


def _reason(text: str) -> str:
    stripped = text.strip()
    if not 1 <= len(stripped) <= REASON_LENGTH_MAX:
        raise Refusal(
            Reason.INVALID_REQUEST, f"reason: say why, in at most {REASON_LENGTH_MAX} characters", param="reason"
        )
    return stripped


def _tenant(row: Row) -> Tenant:
    tenant_id, name, mode, currency, credit_limit, created_at, suspended = row
    return Tenant(
        id=tenant_id, name=name, mode=Mode(mode), currency=currency, credit_limit=credit_limit, created_at=created_at,
        suspended=bool(suspended),
    )


def _project(row: Row) -> Project:
    project_id, tenant_id, name, created_at = row
    return Project(id=project_id, tenant_id=tenant_id, name=name, created_at=created_at)


def _key(row: Row) -> Key:
    key_id, project_id, scopes, models, rpm, tpm, budget, created_at, revoked_at = row
    return Key(
        id=key_id, project_id=project_id, scopes=frozenset(Scope(scope) for scope in scopes.split(",")),
        models=None if models is None else frozenset(models.split(",")), rpm=rpm, tpm=tpm, budget=budget,
        created_at=created_at, revoked_at=revoked_at,
    )


def _suspension(row: Row) -> Suspension:
    suspension_id, tenant_id, reason, at, lifted_at = row
    return Suspension(id=suspension_id, tenant_id=tenant_id, reason=reason, at=at, lifted_at=lifted_at)
