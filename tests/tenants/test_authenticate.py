"""Who may: the right secret, the wrong one, the revoked one, and how soon a change by another process works."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from tests.tenants.conftest import Cast

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx
from millrace.tenants import store
from millrace.tenants.authenticate import Directory
from millrace.tenants.secret import new_secret
from millrace.tenants.values import Caller

T = TypeVar("T")


@pytest.fixture
def directory(db: Database, clock: FakeClock) -> Directory:
    return Directory(db, clock)


def caller_of(directory: Directory, secret: str) -> Caller:
    return asyncio.run(directory.caller(secret))


def refusal_of(directory: Directory, secret: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        caller_of(directory, secret)
    return caught.value


def revoke(db: Database, key_id: str) -> None:
    db.write_now(lambda tx: store.revoke(tx, 1, key_id=key_id, reason="leaked"))


def test_a_secret_names_its_caller(directory: Directory, cast: Cast) -> None:
    """Each secret gives its own key, project and tenant; the second time without asking the database."""
    for _ in range(2):
        caller = caller_of(directory, cast.secret)
        assert (caller.tenant, caller.project, caller.key) == (cast.acme, cast.production, cast.key)
        assert caller_of(directory, cast.globex_secret).tenant == cast.globex
    assert caller_of(directory, cast.secret) is caller_of(directory, cast.secret)


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
    caller_of(directory, cast.secret)
    caller_of(directory, cast.globex_secret)
    revoke(db, cast.key.id)
    clock.advance(0.499)
    assert caller_of(directory, cast.secret).key == cast.key
    clock.advance(0.001)
    assert refusal_of(directory, cast.secret).reason is Reason.INVALID_API_KEY
    assert caller_of(directory, cast.globex_secret).key == cast.globex_key


def test_use_does_not_lengthen_the_half_second(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock
) -> None:
    """A revoked key that is used all the time is refused as soon as one that is not."""
    caller_of(directory, cast.secret)
    revoke(db, cast.key.id)
    for _ in range(4):
        clock.advance(0.1)
        caller_of(directory, cast.secret)
    clock.advance(0.1)
    assert refusal_of(directory, cast.secret).reason is Reason.INVALID_API_KEY


def test_setting_the_wall_clock_back_revives_nothing(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock
) -> None:
    """The half second is measured on the monotonic clock."""
    caller_of(directory, cast.secret)
    revoke(db, cast.key.id)
    clock.advance(0.5)
    clock.advance(-3600)
    assert refusal_of(directory, cast.secret).reason is Reason.INVALID_API_KEY


def test_a_suspended_tenant_is_refused_and_comes_back(
    db: Database, directory: Directory, cast: Cast, clock: FakeClock, ids: Ids
) -> None:
    """A suspension works within a second, so does its end, and the stranger does not notice."""
    caller_of(directory, cast.secret)
    db.write_now(lambda tx: store.suspend(tx, ids, 1, tenant=cast.acme, reason="unpaid since March"))
    clock.advance(0.5)
    for _ in range(2):
        refusal = refusal_of(directory, cast.secret)
        assert refusal.reason is Reason.TENANT_SUSPENDED
        assert "unpaid" not in refusal.sentence
    assert caller_of(directory, cast.globex_secret).tenant == cast.globex
    db.write_now(lambda tx: store.resume(tx, 2, tenant=cast.acme))
    clock.advance(0.5)
    assert caller_of(directory, cast.secret).tenant == cast.acme


def test_guesses_push_nobody_out(directory: Directory, cast: Cast) -> None:
    """A thousand wrong secrets are not kept, and the caller who was there is still there."""
    kept = caller_of(directory, cast.secret)
    for _ in range(1000):
        refusal_of(directory, new_secret())
    assert len(directory) == 1
    assert caller_of(directory, cast.secret) is kept


def test_what_is_kept_is_bounded(db: Database, clock: FakeClock, cast: Cast, ids: Ids) -> None:
    """Beyond the bound the one that was used longest ago goes, and is looked up again when it comes."""
    directory = Directory(db, clock, entries_max=2)
    _, third = db.write_now(lambda tx: store.create_key(tx, ids, 1, project=cast.lab))
    first, second = caller_of(directory, cast.secret), caller_of(directory, cast.globex_secret)
    assert caller_of(directory, cast.secret) is first
    assert caller_of(directory, third).project == cast.lab
    assert len(directory) == 2
    assert caller_of(directory, cast.secret) is first
    again = caller_of(directory, cast.globex_secret)
    assert again == second
    assert again is not second


def test_a_revoked_key_is_not_kept(db: Database, directory: Directory, cast: Cast, clock: FakeClock) -> None:
    """What is refused after its half second leaves no entry behind."""
    caller_of(directory, cast.secret)
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
    caller_of(directory, cast.secret)
    assert cast.secret.removeprefix("mr_") not in repr(vars(directory))


class Asked(SqliteDatabase):
    """Counts what an event loop asks it."""

    looks = 0

    async def look(self, work: Callable[[Tx], T]) -> T:
        self.looks += 1
        await asyncio.sleep(0)  # as one that is asked over a network
        return await super().look(work)


def test_many_that_ask_at_once_are_one_look_up(cast: Cast, db: SqliteDatabase, clock: FakeClock) -> None:
    """A hundred requests with one key that is not in memory cost the database one question."""
    asked = Asked(db.path)
    directory = Directory(asked, clock)

    async def burst() -> list[Caller]:
        return await asyncio.gather(*(directory.caller(cast.secret) for _ in range(100)))

    assert {caller.key.id for caller in asyncio.run(burst())} == {cast.key.id}
    assert asked.looks == 1
    asked.close()
