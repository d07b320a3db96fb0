"""The price book in the database: versions only ever added, the one in force found by date, and seen quickly."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.base.clock import NS_PER_S, FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO
from millrace.money.rating.book import NewPrice, PriceTier, PriceVersion
from millrace.money.rating.store import PriceBook, all_prices, import_price, price_at, price_by_id
from millrace.schema import migrations
from millrace.store.database import Database
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.transaction import Conflict

DAY = 86_400 * NS_PER_S
NOW = 1_700_000_000 * NS_PER_S


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = SqliteDatabase(tmp_path / "millrace.db")
    database.migrate(migrations())
    yield database
    database.close()


def current(book: PriceBook, model: str, currency: str) -> PriceVersion:
    return asyncio.run(book.current(model, currency))


def price(units: int, effective_from: int | None = None, *, model: str = "m", batch_ppm: int = 1_000_000) -> NewPrice:
    tiers = (PriceTier(None, units * NANO, NANO, NANO),)
    return NewPrice(model=model, currency="CNY", tiers=tiers, effective_from=effective_from, batch_ppm=batch_ppm)


def put(db: Database, new: NewPrice, now: int = NOW) -> tuple[PriceVersion, bool]:
    return db.write_now(lambda tx: import_price(tx, new, now))


def in_force(db: Database, instant: int, model: str = "m") -> str | None:
    found = db.read(lambda tx: price_at(tx, model, "CNY", instant))
    return None if found is None else found.id


def test_a_first_price_is_version_one_from_now(db: Database) -> None:
    """A new price is in force from the import on, under an id that people can read."""
    version, created = put(db, price(1))
    assert created
    assert (version.id, version.version, version.effective_from) == ("m/CNY/v1", 1, NOW)
    assert in_force(db, NOW) == "m/CNY/v1"
    assert in_force(db, NOW - 1) is None


def test_what_is_read_back_is_what_was_written(db: Database) -> None:
    """Tiers, bounds and the batch factor survive the database to the last digit."""
    tiers = (PriceTier(32_768, 2_800_000, 1, 10**15), PriceTier(None, 0, 0, 7))
    version, _ = put(db, NewPrice(model="org/m:8b", currency="KWD", tiers=tiers, batch_ppm=333_333))
    assert version.tiers == tiers
    assert version.batch_ppm == 333_333
    assert db.read(lambda tx: price_by_id(tx, "org/m:8b/KWD/v1")) == version
    assert db.read(all_prices) == [version]


def test_the_same_price_twice_is_one_version(db: Database) -> None:
    """Importing a file again makes nothing new; another amount, tier or batch factor does."""
    first, _ = put(db, price(1))
    assert put(db, price(1), NOW + DAY) == (first, False)
    assert put(db, price(2), NOW + DAY)[0].id == "m/CNY/v2"
    assert put(db, price(2, batch_ppm=500_000), NOW + 2 * DAY)[0].id == "m/CNY/v3"
    assert len(db.read(all_prices)) == 3


def test_going_back_to_an_old_price_is_a_new_version(db: Database) -> None:
    """A price that once was in force and is again has a version of its own, so receipts tell the two apart."""
    put(db, price(1))
    put(db, price(2), NOW + DAY)
    version, created = put(db, price(1), NOW + 2 * DAY)
    assert created
    assert version.id == "m/CNY/v3"


def test_a_planned_price_takes_over_at_its_instant(db: Database) -> None:
    """Up to the nano-second before its effective date the old version holds, from it on the new one."""
    put(db, price(1))
    put(db, price(2, NOW + DAY))
    assert in_force(db, NOW + DAY - 1) == "m/CNY/v1"
    assert in_force(db, NOW + DAY) == "m/CNY/v2"


def test_a_planned_price_can_be_corrected_before_its_day(db: Database) -> None:
    """Of two versions with one effective date the later import holds; one for an earlier day does not outlive it."""
    put(db, price(1))
    put(db, price(2, NOW + 2 * DAY))
    put(db, price(3, NOW + 2 * DAY))
    put(db, price(4, NOW + DAY))
    assert [in_force(db, NOW + days * DAY) for days in range(4)] == ["m/CNY/v1", "m/CNY/v4", "m/CNY/v3", "m/CNY/v3"]


def test_a_planned_price_is_planned_once(db: Database) -> None:
    """Importing the same planned price again, before or after its day, makes no second version."""
    put(db, price(1))
    planned, _ = put(db, price(2, NOW + DAY))
    assert put(db, price(2, NOW + DAY), NOW + 1) == (planned, False)
    assert put(db, price(2, NOW + DAY), NOW + 5 * DAY) == (planned, False)


def test_a_backdated_price_is_refused(db: Database) -> None:
    """Requests were rated since, so the past keeps its prices; the refusal says what to write instead."""
    put(db, price(1))
    with pytest.raises(Refusal) as caught:
        put(db, price(2, NOW), NOW + DAY)
    assert caught.value.sentence == (
        "the price of m in CNY cannot change from 2023-11-14T22:13:20.000000Z: that is past, and requests were rated "
        "since; give it an effective_from in the future, or none for at once"
    )
    assert len(db.read(all_prices)) == 1


def test_the_first_prices_of_a_model_may_lie_in_the_past(db: Database) -> None:
    """Before its first price no request of a model can have been rated, so a fresh database takes a file's history."""

    def both(now: int) -> None:
        db.write_now(lambda tx: [import_price(tx, price(units, NOW - units * DAY), now) for units in (9, 3)])

    both(NOW)
    both(NOW + DAY)
    assert [(version.id, version.effective_from) for version in db.read(all_prices)] == [
        ("m/CNY/v1", NOW - 9 * DAY), ("m/CNY/v2", NOW - 3 * DAY),
    ]  # fmt: skip


def test_a_version_is_never_changed_or_deleted(db: Database) -> None:
    """The database itself refuses to touch a price that may have rated something."""
    put(db, price(1))
    for statement in ("UPDATE price_version SET components = '{}'", "DELETE FROM price_version"):
        with pytest.raises(Conflict):
            db.write_now(lambda tx, sql=statement: tx.run(sql))  # type: ignore[misc]


def test_an_unknown_price_id_is_refused(db: Database) -> None:
    """A usage row that names a price nobody knows is said so by name."""
    with pytest.raises(Refusal, match="there is no price m/CNY/v7"):
        db.read(lambda tx: price_by_id(tx, "m/CNY/v7"))


def test_the_book_answers_from_memory_for_a_second(db: Database) -> None:
    """A price is read once and then answered from memory; one that another process imported is seen a second later."""
    clock = FakeClock(NOW)
    book = PriceBook(db, clock)
    put(db, price(1))
    assert current(book, "m", "CNY").id == "m/CNY/v1"
    put(db, price(2), NOW)
    clock.advance(0.9)
    assert current(book, "m", "CNY").id == "m/CNY/v1"
    clock.advance(0.1)
    assert current(book, "m", "CNY").id == "m/CNY/v2"


def test_the_book_changes_price_at_the_planned_instant(db: Database) -> None:
    """A planned price does not wait for the next reading: no request after its instant is rated at the old one."""
    clock = FakeClock(NOW)
    book = PriceBook(db, clock)
    put(db, price(1))
    put(db, price(2, NOW + NS_PER_S // 2))
    assert current(book, "m", "CNY").id == "m/CNY/v1"
    clock.advance(0.5)
    assert current(book, "m", "CNY").id == "m/CNY/v2"


def test_a_model_without_a_price_is_refused_by_name(db: Database) -> None:
    """The refusal names model, currency and remedy, and an import mends it at once."""
    book = PriceBook(db, FakeClock(NOW))
    put(db, price(1))
    with pytest.raises(Refusal) as caught:
        current(book, "n", "EUR")
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert caught.value.sentence == (
        "n has no price in EUR yet; the operator adds one with `millrace price import FILE`"
    )
    with pytest.raises(Refusal):
        current(book, "n", "CNY")
    put(db, price(1, model="n"))
    assert current(book, "n", "CNY").id == "n/CNY/v1"
