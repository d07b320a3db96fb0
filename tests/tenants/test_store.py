"""Tenants, projects and keys: names, refusals, suspension and revocation as rows."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.tenants.conftest import Cast

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Conflict, Tx
from millrace.tenants import store
from millrace.tenants.secret import sha256_of
from millrace.tenants.values import Mode, Project, Scope, Suspension

GOOD_NAMES = ["a", "acme", "acme-2", "a.b_c", "0", "x" * 63]
BAD_NAMES = ["", "Acme", "-acme", "acme-", "a b", "a/b", "a,b", "ä", "x" * 64, "acme\n"]


def refused(db: Database, work: Callable[[Tx], Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        db.write_now(work)
    return caught.value


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_tenant_is_found_by_its_name(db: Database, ids: Ids, name: str) -> None:
    """A tenant comes back as it was made, by name and by id."""
    limit = 5 * NANO
    made = db.write_now(lambda tx: store.create_tenant(tx, ids, 7, name=name, mode=Mode.POSTPAID, credit_limit=limit))
    assert db.read(lambda tx: store.tenant_named(tx, name)) == made
    assert db.read(lambda tx: store.tenant_with_id(tx, made.id)) == made
    assert (made.id[:4], made.created_at, made.credit_limit, made.suspended) == ("ten_", 7, limit, False)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(db: Database, ids: Ids, cast: Cast, name: str) -> None:
    """Names of tenants and projects stand in commands and addresses: small letters, digits and - _ . between them."""
    for refusal in (
        refused(db, lambda tx: store.create_tenant(tx, ids, 1, name=name)),
        refused(db, lambda tx: store.create_project(tx, ids, 1, tenant=cast.acme, name=name)),
        refused(db, lambda tx: store.find_or_create_project(tx, ids, 1, tenant=cast.acme, name=name)),
    ):
        assert (refusal.reason, refusal.param) == (Reason.INVALID_REQUEST, "name")
        assert "such as acme-2" in refusal.sentence


def test_a_name_is_given_once(db: Database, ids: Ids, cast: Cast) -> None:
    """A second tenant of a name is refused; the first one stays."""
    refusal = refused(db, lambda tx: store.create_tenant(tx, ids, 1, name="acme"))
    assert (refusal.reason, refusal.param) == (Reason.CONFLICT, "name")
    assert [tenant.name for tenant in db.read(store.tenants)] == ["acme", "globex"]
    assert db.read(lambda tx: store.tenant_named(tx, "acme")) == cast.acme


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"currency": "XXX"}, "currency"),
        ({"credit_limit": 1}, "credit_limit"),
        ({"mode": Mode.POSTPAID, "credit_limit": -1}, "credit_limit"),
        ({"mode": Mode.POSTPAID, "credit_limit": 2**63}, "credit_limit"),
    ],
)
def test_a_tenant_with_impossible_money_is_refused(db: Database, ids: Ids, values: dict[str, Any], param: str) -> None:
    """An unknown currency, credit for a prepaid tenant, and limits that no account holds are refused by name."""
    refusal = refused(db, lambda tx: store.create_tenant(tx, ids, 1, name="acme", **values))
    assert (refusal.reason, refusal.param) == (Reason.INVALID_REQUEST, param)
    assert db.read(store.tenants) == []


def test_an_unknown_tenant_is_not_found(db: Database, cast: Cast) -> None:
    """The refusal names what was asked for and how to see what there is, not who else is here."""
    for refusal in (
        refused(db, lambda tx: store.tenant_named(tx, "nobody")),
        refused(db, lambda tx: store.tenant_with_id(tx, "nobody")),
    ):
        assert refusal.reason is Reason.NOT_FOUND
        assert "'nobody'" in refusal.sentence
        assert cast.globex.name not in refusal.sentence


def test_a_project_belongs_to_its_tenant(db: Database, ids: Ids, cast: Cast) -> None:
    """Two tenants may use one project name; one tenant may not use it twice."""
    theirs = db.write_now(lambda tx: store.create_project(tx, ids, 1, tenant=cast.globex, name="lab"))
    assert theirs.tenant_id == cast.globex.id
    assert theirs != cast.lab
    refusal = refused(db, lambda tx: store.create_project(tx, ids, 1, tenant=cast.acme, name="lab"))
    assert (refusal.reason, refusal.param) == (Reason.CONFLICT, "project")
    assert db.read(lambda tx: store.projects(tx, cast.acme)) == [cast.lab, cast.production]


def test_a_project_is_made_at_its_first_mention(db: Database, ids: Ids, cast: Cast) -> None:
    """The first mention makes it, the second finds the same."""

    def make(tx: Tx) -> Project:
        return store.find_or_create_project(tx, ids, 1, tenant=cast.acme, name="new")

    assert db.write_now(make) == db.write_now(make)
    names = [project.name for project in db.read(lambda tx: store.projects(tx, cast.acme))]
    assert names == ["lab", "new", "production"]


def test_a_key_keeps_its_limits(db: Database, ids: Ids, cast: Cast) -> None:
    """Scopes, models, limits and budget come back as they were given."""
    key, _ = db.write_now(
        lambda tx: store.create_key(
            tx, ids, 9, project=cast.lab, scopes=[Scope.READ], models=["b", "a"], rpm=60, tpm=1000, budget=10 * NANO
        )
    )
    assert (key.id[:4], key.scopes, key.models) == ("key_", frozenset({Scope.READ}), frozenset({"a", "b"}))
    assert (key.rpm, key.tpm, key.budget, key.created_at, key.revoked_at) == (60, 1000, 10 * NANO, 9, None)
    assert db.read(lambda tx: store.key_with_id(tx, key.id)) == key


def test_a_budget_of_nothing_is_a_budget(db: Database, ids: Ids, cast: Cast) -> None:
    """0 stops a key from spending and is not the same as no budget."""
    key, _ = db.write_now(lambda tx: store.create_key(tx, ids, 1, project=cast.lab, budget=0))
    assert db.read(lambda tx: store.key_with_id(tx, key.id)).budget == 0


def test_a_secret_is_nowhere(db: SqliteDatabase, cast: Cast) -> None:
    """The database holds the hash and not the secret, and neither does the key's repr."""
    db.close()
    raw = db.path.read_bytes()
    assert sha256_of(cast.secret).encode() in raw
    assert cast.secret.encode() not in raw
    assert cast.secret.removeprefix("mr_") not in f"{cast.key!r} {cast!r}"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"scopes": []}, "scopes"),
        ({"models": []}, "models"),
        ({"models": ["a,b"]}, "models"),
        ({"models": ["a b"]}, "models"),
        ({"models": [""]}, "models"),
        ({"models": [f"m{number}" for number in range(101)]}, "models"),
        ({"rpm": 0}, "rpm"),
        ({"rpm": -1}, "rpm"),
        ({"tpm": 10**13}, "tpm"),
        ({"budget": -1}, "budget"),
        ({"budget": 2**63}, "budget"),
    ],
)
def test_a_key_with_an_impossible_limit_is_refused(
    db: Database, ids: Ids, cast: Cast, values: dict[str, Any], param: str
) -> None:
    """Each limit is refused by its name, and no key is made."""
    refusal = refused(db, lambda tx: store.create_key(tx, ids, 1, project=cast.lab, **values))
    assert (refusal.reason, refusal.param) == (Reason.INVALID_REQUEST, param)
    assert refusal.sentence.startswith(param)
    assert db.read(lambda tx: store.keys(tx, cast.acme)) == [cast.key]


def test_keys_are_listed_for_their_tenant_only(db: Database, cast: Cast) -> None:
    """Acme does not see the stranger's key."""
    assert db.read(lambda tx: store.keys(tx, cast.acme)) == [cast.key]
    assert db.read(lambda tx: store.keys(tx, cast.globex)) == [cast.globex_key]


def test_a_revoked_key_stays_revoked(db: Database, cast: Cast) -> None:
    """The first revocation counts; a second one changes nothing and says when the first was."""
    first = db.write_now(lambda tx: store.revoke(tx, 100, key_id=cast.key.id, reason=" leaked "))
    again = db.write_now(lambda tx: store.revoke(tx, 200, key_id=cast.key.id, reason="to be sure"))
    assert (first.at, first.reason, first.repeated) == (100, "leaked", False)
    assert (again.at, again.reason, again.repeated) == (100, "leaked", True)
    assert "within a second" in store.describe_revocation(first)
    assert "was revoked before, at 1970-01-01T00:00:00.000000Z (leaked)" in store.describe_revocation(again)
    assert db.read(lambda tx: store.key_with_id(tx, cast.key.id)).revoked_at == 100
    assert db.read(lambda tx: store.key_with_id(tx, cast.globex_key.id)).revoked_at is None


def test_only_a_key_that_is_there_can_be_revoked(db: Database, cast: Cast) -> None:
    """An unknown id is not found, and a secret given by mistake is not an id."""
    for refusal in (
        refused(db, lambda tx: store.revoke(tx, 1, key_id="key_nobody", reason="x")),
        refused(db, lambda tx: store.revoke(tx, 1, key_id=cast.secret, reason="x")),
    ):
        assert cast.secret not in refusal.sentence
        assert refusal.reason is Reason.NOT_FOUND


def test_a_suspension_is_a_row_with_its_reason(db: Database, ids: Ids, clock: FakeClock, cast: Cast) -> None:
    """Suspended once though asked twice, lifted once, and all of it can be read afterwards."""

    def suspend(tx: Tx) -> Suspension:
        return store.suspend(tx, ids, clock.now(), tenant=cast.acme, reason="unpaid")

    first = db.write_now(suspend)
    clock.advance(60)
    assert db.write_now(suspend) == first
    assert db.read(lambda tx: store.tenant_named(tx, "acme")).suspended
    assert not db.read(lambda tx: store.tenant_named(tx, "globex")).suspended
    lifted = db.write_now(lambda tx: store.resume(tx, clock.now(), tenant=cast.acme))
    assert (lifted.id, lifted.lifted_at) == (first.id, clock.now())
    assert not db.read(lambda tx: store.tenant_named(tx, "acme")).suspended
    clock.advance(60)
    second = db.write_now(suspend)
    assert db.read(lambda tx: store.suspensions(tx, cast.acme)) == [lifted, second]
    assert db.read(lambda tx: store.suspensions(tx, cast.globex)) == []


def test_who_is_not_suspended_cannot_be_resumed(db: Database, cast: Cast) -> None:
    """Resuming a tenant that nobody suspended is refused: it was the wrong name, or somebody was faster."""
    refusal = refused(db, lambda tx: store.resume(tx, 1, tenant=cast.acme))
    assert refusal.reason is Reason.CONFLICT


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_change_needs_its_reason(db: Database, ids: Ids, cast: Cast, reason: str) -> None:
    """Neither a suspension nor a revocation goes without saying why, in a sentence or two."""
    for refusal in (
        refused(db, lambda tx: store.suspend(tx, ids, 1, tenant=cast.acme, reason=reason)),
        refused(db, lambda tx: store.revoke(tx, 1, key_id=cast.key.id, reason=reason)),
    ):
        assert (refusal.reason, refusal.param) == (Reason.INVALID_REQUEST, "reason")


def test_several_changes_are_one(db: Database, ids: Ids) -> None:
    """A tenant, its project and its key are made together or not at all."""

    def make(tx: Tx) -> None:
        tenant = store.create_tenant(tx, ids, 1, name="acme")
        project = store.find_or_create_project(tx, ids, 1, tenant=tenant)
        store.create_key(tx, ids, 1, project=project, rpm=0)

    assert refused(db, make).param == "rpm"
    assert db.read(store.tenants) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenant SET credit_limit = 1",
        "UPDATE tenant SET mode = 'free'",
        "UPDATE tenant SET name = 'acme'",
        "INSERT INTO project (id, tenant_id, name, created_at) VALUES ('p', 'nobody', 'n', 1)",
        "INSERT INTO revocation (key_id, reason, at) VALUES ('nobody', 'x', 1)",
        "UPDATE api_key SET sha256 = 'mr_a secret by mistake ' || id",
        "UPDATE api_key SET rpm = 0",
    ],
)
def test_the_database_refuses_too(db: Database, cast: Cast, statement: str) -> None:
    """What the functions refuse, the tables refuse as well."""
    with pytest.raises(Conflict):
        db.write_now(lambda tx: tx.run(statement))
    assert len(db.read(store.tenants)) == 2
    assert db.read(lambda tx: store.keys(tx, cast.acme)) == [cast.key]
