"""Claims on keys: one request has a key, its answer is kept, its space is counted, and everything ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from millrace import schema
from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.money.idempotency import store
from millrace.money.idempotency.claim import ANSWER_BYTES_MAX, KEPT_NS, Answered, Claim, Repeated, Space, State
from millrace.money.idempotency.key import key_digest
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Tx

T = TypeVar("T")

ROOM: Final = Space(keys=3, bytes=3 * ANSWER_BYTES_MAX)

Answers = list[Repeated | Refusal | None]


def request(number: int) -> str:
    return f"req_{number}"


class Keys:
    """The room `idempotency` on a database of its own, with claims that are short to write. Acme and mole have tenants."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.clock = FakeClock()
        self.epoch = 1
        for name in ("acme", "mole"):
            self.run("INSERT INTO tenant VALUES (:id, :id, 'prepaid', 'CNY', 0, 0)", id=f"ten_{name}")
        for number in (1, 2):
            self.run("INSERT INTO epoch (number, started_at) VALUES (:number, 0)", number=number)

    def do(self, work: Callable[[Tx], T]) -> T:
        return self.db.write_now(work)

    def run(self, sql: str, **values: Any) -> int:
        return self.do(lambda tx: tx.run(sql, **values))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.db.read(lambda tx: tx.rows(sql))

    def wish(self, number: int, key: str, *, tenant: str = "acme", body: str = "b", space: Space = ROOM) -> Claim:
        return Claim(
            key=key_digest(f"ten_{tenant}", f"proj_{tenant}", key), tenant_id=f"ten_{tenant}", body=body,
            request_id=request(number), epoch=self.epoch, space_max=space,
        )  # fmt: skip

    def claim(self, *wishes: Claim) -> Answers:
        return self.do(lambda tx: store.claim(tx, list(wishes), self.clock.now()))

    def finish(self, number: int, answer: bytes | None = b"packed") -> None:
        answered = Answered(request_id=request(number), status=200, form="application/json", answer=answer)
        self.do(lambda tx: store.finish(tx, [answered]))

    def release(self, *numbers: int) -> None:
        self.do(lambda tx: store.release(tx, [request(number) for number in numbers]))

    def lost(self, *numbers: int) -> None:
        self.do(lambda tx: store.lost(tx, [request(number) for number in numbers]))

    def find(self, key: str, *, tenant: str = "acme", asked_by: str | None = None) -> tuple[str, State, bytes] | None:
        digest = key_digest(f"ten_{tenant}", f"proj_{tenant}", key)
        kept = self.db.read(lambda tx: store.find(tx, f"ten_{asked_by or tenant}", digest))
        return None if kept is None else (kept.request_id, kept.state, kept.answer)

    def space(self, tenant: str = "acme") -> tuple[int, int]:
        space = self.db.read(lambda tx: store.usage_of(tx, f"ten_{tenant}"))
        return space.keys, space.bytes


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = SqliteDatabase(tmp_path / "millrace.db")
    made.migrate(schema.migrations())
    yield made
    made.close()


@pytest.fixture
def keys(db: Database) -> Keys:
    return Keys(db)


def what(answers: Answers) -> str:
    """Each answer as a letter: claimed, repeated, full."""
    return "".join("c" if answer is None else "r" if isinstance(answer, Repeated) else "f" for answer in answers)


def test_the_first_has_the_key(keys: Keys) -> None:
    """A second request is told that the key is taken, in a later transaction as in the same one; other keys are free."""
    assert what(keys.claim(keys.wish(1, "a"), keys.wish(2, "a"), keys.wish(3, "b"))) == "crc"
    assert what(keys.claim(keys.wish(4, "b"), keys.wish(5, "c"))) == "rc"
    assert keys.find("a") == (request(1), State.RUNNING, b"")
    assert keys.find("d") is None


def test_a_claim_that_is_asked_for_again_stands(keys: Keys) -> None:
    """The same request with the same key has it, and it is counted once."""
    keys.claim(keys.wish(1, "a"))
    assert what(keys.claim(keys.wish(1, "a"))) == "c"
    assert keys.space() == (1, ANSWER_BYTES_MAX)


def test_another_tenant_s_same_key_is_another(keys: Keys) -> None:
    """Both claim it, and neither finds the other's even when he knows its digest."""
    assert what(keys.claim(keys.wish(1, "a"), keys.wish(2, "a", tenant="mole"))) == "cc"
    assert keys.find("a", tenant="mole") == (request(2), State.RUNNING, b"")
    assert keys.find("a", asked_by="mole") is None


def test_an_answer_is_kept_whole(keys: Keys) -> None:
    """Status, content type and body come back, and what the request was made of."""
    keys.claim(keys.wish(1, "a", body="digest"))
    keys.finish(1, b"packed")
    kept = keys.db.read(lambda tx: store.find(tx, "ten_acme", keys.wish(1, "a").key))
    assert kept is not None
    assert (kept.request_id, kept.body, kept.state) == (request(1), "digest", State.KEPT)
    assert (kept.status, kept.form, kept.answer) == (200, "application/json", b"packed")


def test_an_answer_too_large_leaves_its_key(keys: Keys) -> None:
    """The key stays taken, and takes no bytes."""
    keys.claim(keys.wish(1, "a"))
    keys.finish(1, None)
    assert keys.find("a") == (request(1), State.TOO_LARGE, b"")
    assert keys.space() == (1, 0)


def test_what_cost_nothing_frees_its_key(keys: Keys) -> None:
    """The next request with it runs, and nothing of the first is left."""
    keys.claim(keys.wish(1, "a"), keys.wish(2, "b"))
    keys.release(1, 7)
    assert keys.find("a") is None
    assert keys.space() == (1, ANSWER_BYTES_MAX)
    assert what(keys.claim(keys.wish(3, "a"))) == "c"
    keys.release(2, 3)
    assert keys.space() == (0, 0)


def test_a_lost_answer_says_so(keys: Keys) -> None:
    """A request that was billed and whose answer nobody has keeps its key."""
    keys.claim(keys.wish(1, "a"))
    keys.lost(1, 7)
    assert keys.find("a") == (request(1), State.LOST, b"")
    assert what(keys.claim(keys.wish(2, "a"))) == "r"
    assert keys.space() == (1, 0)


@pytest.mark.parametrize("again", ["finish", "lost", "release"])
def test_a_claim_ends_once(keys: Keys, again: str) -> None:
    """How it ended first holds, and its space is given back once: a settlement that is told again changes nothing."""
    keys.claim(keys.wish(1, "a"))
    keys.finish(1, b"packed")
    if again == "finish":
        keys.finish(1, b"other")
    else:
        {"lost": keys.lost, "release": keys.release}[again](1)
    assert keys.find("a") == (request(1), State.KEPT, b"packed")
    assert keys.space() == (1, len(b"packed"))


def test_a_tenant_s_keys_are_bounded(keys: Keys) -> None:
    """At the bound a new key is refused by the name of the limit; old ones answer, another tenant claims, none is forgotten."""
    keys.claim(*(keys.wish(number, f"k{number}") for number in (1, 2, 3)))
    answers = keys.claim(keys.wish(4, "k4"), keys.wish(5, "k1"), keys.wish(6, "k4", tenant="mole"))
    assert what(answers) == "frc"
    refusal = answers[0]
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.limit, refusal.retry_after_s) == (Reason.RATE_LIMIT_EXCEEDED, "idempotency_keys", 60)
    assert all(keys.find(f"k{number}") for number in (1, 2, 3))


def test_the_bound_holds_within_one_transaction(keys: Keys) -> None:
    """Claims that come together are counted one by one."""
    assert what(keys.claim(*(keys.wish(number, f"k{number}") for number in range(1, 6)))) == "cccff"


def test_bytes_are_bounded_before_they_are_there(keys: Keys) -> None:
    """A running request has a place for the largest answer; what its answer leaves of that is free again."""
    tight = Space(keys=100, bytes=2 * ANSWER_BYTES_MAX)
    wishes = [keys.wish(number, f"k{number}", space=tight) for number in (1, 2, 3)]
    assert what(keys.claim(*wishes)) == "ccf"
    keys.finish(1, b"x" * 1000)
    assert what(keys.claim(wishes[2])) == "f"
    keys.release(2)
    assert what(keys.claim(wishes[2])) == "c"
    assert keys.space() == (2, ANSWER_BYTES_MAX + 1000)


def test_a_day_later_a_key_is_free(keys: Keys) -> None:
    """Not before; and what still runs keeps its key."""
    keys.claim(keys.wish(1, "a"), keys.wish(2, "b"))
    keys.finish(1)
    now = keys.clock.now()
    assert keys.do(lambda tx: store.expire(tx, now + KEPT_NS - 1)) == 0
    assert keys.find("a") is not None
    assert keys.do(lambda tx: store.expire(tx, now + KEPT_NS)) == 1
    assert keys.find("a") is None
    assert keys.find("b") == (request(2), State.RUNNING, b"")
    assert keys.space() == (1, ANSWER_BYTES_MAX)


def test_old_keys_go_the_oldest_first_and_not_all_at_once(keys: Keys) -> None:
    """A sweep has a bound; the next one goes on."""
    many = store.EXPIRED_AT_ONCE + 10
    wide = Space(keys=2 * many, bytes=2 * many * ANSWER_BYTES_MAX)
    wishes = [keys.wish(number, f"k{number}", space=wide) for number in range(1, many + 1)]
    keys.claim(*wishes[10:])
    now = keys.clock.now()
    keys.clock.advance(-1)
    keys.claim(*wishes[:10])
    answers = [Answered(request_id=wish.request_id, status=200, form="f", answer=b"x") for wish in wishes]
    keys.do(lambda tx: store.finish(tx, answers))
    day_after = now + KEPT_NS
    assert keys.do(lambda tx: store.expire(tx, day_after)) == store.EXPIRED_AT_ONCE
    assert all(keys.find(f"k{number}") is None for number in range(1, 11))
    assert keys.space() == (10, 10)
    assert keys.do(lambda tx: store.expire(tx, day_after)) == 10
    assert keys.space() == (0, 0)


def test_servers_count_apart_and_are_summed(keys: Keys) -> None:
    """The bound holds over the claims of all epochs, and each gives back what it took."""
    keys.claim(keys.wish(1, "a"), keys.wish(2, "b"))
    keys.epoch = 2
    assert what(keys.claim(keys.wish(3, "c"), keys.wish(4, "d"))) == "cf"
    keys.release(1)
    assert what(keys.claim(keys.wish(4, "d"))) == "c"
    assert keys.rows("SELECT epoch, keys FROM idempotency_space ORDER BY epoch") == [(1, 1), (2, 2)]


def test_no_client_s_text_is_stored(keys: Keys) -> None:
    """A key may be anything, a card number too: the rows have digests."""
    keys.claim(keys.wish(1, "4111-1111-1111-1111"))
    (row,) = keys.rows("SELECT * FROM idempotency")
    assert "4111" not in str(row)
