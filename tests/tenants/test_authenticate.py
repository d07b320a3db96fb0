"""Who may: the right secret, the wrong one, the revoked one, and how soon a change by another process works."""

import pytest
from tests.tenants.conftest import Cast

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.store.database import Database
from millrace.tenants import store
from millrace.tenants.authenticate import Directory
from millrace.tenants.secret import new_secret


@pytest.fixture
def directory(db: Database, clock: FakeClock) -> Directory:
    return Directory(db, clock)


def refusal_of(directory: Directory, secret: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        directory.caller(secret)
    return caught.value


def revoke(db: Database, key_id: str) -> None:
    db.write_now(lambda tx: store.revoke(tx, 1, key_id=key_id, reason="leaked"))


def test_a_secret_names_its_caller(directory: Directory, cast: Cast) -> None:
    """Each secret gives its own key, project and tenant; the second time without asking the database."""
    for _ in range(2):
        caller = directory.caller(cast.secret)
        assert (caller.tenant, caller.project, caller.key) == (cast.acme, cast.production, cast.key)
        assert directory.caller(cast.globex_secret).tenant == cast.globex
    assert directory.caller(cast.secret) is directory.caller(cast.secret)


def test_every_wrong_secret_gets_the_same_sentence(db: Database, directory: Directory, cast: Cast) -> None:
    """Unknown, revoked, cut, foreign and odd secrets cannot be told apart; the sentence shows how to make a key."""
    revoke(db, cast.globex_key.id)
    wrong = [
        *(str(new_secret()), str(cast.globex_secret)),
        *(cast.secret[:-1], cast.secret + "0", " " + cast.secret[1:], "sk-" + cast.secret[3:], cast.secret.upper()),
        *("", "mr_", "é" * len(cast.secret), "\udcff" * len(cast.secret), "x" * 1_000_000),
    ]
    refusals = [refusal_of(directory, secret) for secret in wrong]
    assert {refusal.reason for refusal in refusals} == {Reason.INVALID_API_KEY}
    assert len({refusal.sentence for refusal in refusals}) == 1
    assert "millrace key create" in refusals[0].sentence
    assert cast.secret not in refusals[0].sentence


def test_a_revocation_elsewhere_works_within_a_second(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock
) -> None:
    """A key revoked by another process is refused when the half second is over, and only that key."""
    directory.caller(cast.secret)
    directory.caller(cast.globex_secret)
    revoke(db, cast.key.id)
    clock.advance(0.499)
    assert directory.caller(cast.secret).key == cast.key
    clock.advance(0.001)
    assert refusal_of(directory, cast.secret).reason is Reason.INVALID_API_KEY
    assert directory.caller(cast.globex_secret).key == cast.globex_key


def test_use_does_not_lengthen_the_half_second(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock
) -> None:
    """A revoked key that is used all the time is refused as soon as one that is not."""
    directory.caller(cast.secret)
    revoke(db, cast.key.id)
    for _ in range(4):
        clock.advance(0.1)
        directory.caller(cast.secret)
    clock.advance(0.1)
    assert refusal_of(directory, cast.secret).reason is Reason.INVALID_API_KEY


def test_setting_the_wall_clock_back_revives_nothing(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock
) -> None:
    """The half second is measured on the monotonic clock."""
    directory.caller(cast.secret)
    revoke(db, cast.key.id)
    clock.advance(0.5)
    clock.advance(-3600)
    assert refusal_of(directory, cast.secret).reason is Reason.INVALID_API_KEY


def test_a_suspended_tenant_is_refused_and_comes_back(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock, ids: Ids
) -> None:
    """A suspension works within a second, so does its end, and the stranger does not notice."""
    directory.caller(cast.secret)
    db.write_now(lambda tx: store.suspend(tx, ids, 1, tenant=cast.acme, reason="unpaid since March"))
    clock.advance(0.5)
    for _ in range(2):
        refusal = refusal_of(directory, cast.secret)
        assert refusal.reason is Reason.TENANT_SUSPENDED
        assert "unpaid" not in refusal.sentence
    assert directory.caller(cast.globex_secret).tenant == cast.globex
    db.write_now(lambda tx: store.resume(tx, 2, tenant=cast.acme))
    clock.advance(0.5)
    assert directory.caller(cast.secret).tenant == cast.acme


def test_guesses_push_nobody_out(directory: Directory, cast: Cast) -> None:
    """A thousand wrong secrets are not kept, and the caller who was there is still there."""
    kept = directory.caller(cast.secret)
    for _ in range(1000):
        refusal_of(directory, new_secret())
    assert len(directory) == 1
    assert directory.caller(cast.secret) is kept


def test_what_is_kept_is_bounded(db: Database, clock: FakeClock, cast: Cast, ids: Ids) -> None:
    """Beyond the bound the one that was used longest ago goes, and is looked up again when it comes."""
    directory = Directory(db, clock, entries_max=2)
    _, third = db.write_now(lambda tx: store.create_key(tx, ids, 1, project=cast.lab))
    first, second = directory.caller(cast.secret), directory.caller(cast.globex_secret)
    assert directory.caller(cast.secret) is first
    assert directory.caller(third).project == cast.lab
    assert len(directory) == 2
    assert directory.caller(cast.secret) is first
    again = directory.caller(cast.globex_secret)
    assert again == second
    assert again is not second


def test_a_revoked_key_is_not_kept(db: Database, directory: Directory, cast: Cast, clock: FakeClock) -> None:
    """What is refused after its half second leaves no entry behind."""
    directory.caller(cast.secret)
    revoke(db, cast.key.id)
    clock.advance(1)
    refusal_of(directory, cast.secret)
    assert len(directory) == 0


def test_a_database_that_is_gone_is_not_a_wrong_key(db: Database, directory: Directory, cast: Cast) -> None:
    """When nobody can be looked up the caller is told to come back, not that the key is wrong."""
    db.close()
    assert refusal_of(directory, cast.secret).reason is Reason.STORE_UNAVAILABLE


def test_the_secret_is_not_in_memory_dumps(directory: Directory, cast: Cast) -> None:
    """What the directory keeps is the hash: its values do not show the secret."""
    directory.caller(cast.secret)
    assert cast.secret.removeprefix("mr_") not in repr(vars(directory))
