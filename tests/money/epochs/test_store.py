"""Epochs: numbers and slots, leases, and one taker for each of the dead."""

from tests.money.house import House

from millrace.money.epochs import store as epochs
from millrace.money.epochs.store import LEASE_NS, Begun


def begin(house: House, lease_now: int = 0, *, home: str = "here") -> Begun:
    return house.do(lambda tx: epochs.begin(tx, now=0, lease_now=lease_now, home=home, lock=lambda _: None))


def test_numbers_are_never_used_twice_and_slots_are(house: House) -> None:
    """A server that ends leaves its slot to the next one; its number is gone for ever."""
    assert [begin(house) for _ in range(2)] == [(2, 2), (3, 3)]
    assert epochs.end(house.tx, 2, 9)
    assert begin(house) == (4, 2)
    assert begin(house) == (5, 4)
    assert epochs.end(house.tx, house.epoch, 9)
    assert begin(house) == (6, 1)


def test_an_epoch_is_locked_before_anybody_can_see_it(house: House) -> None:
    """The lock is taken in the transaction that makes the row; where that fails there is no row."""

    def refuse(number: int) -> None:
        assert number == 2
        raise OSError("no room for a lock")

    try:
        house.do(lambda tx: epochs.begin(tx, now=0, lease_now=0, home="", lock=refuse))
    except OSError:
        assert house.tx.rows("SELECT number FROM epoch") == [(1,)]
    else:
        raise AssertionError("the lock was not asked for")


def test_a_lease_is_renewed_until_another_took_over(house: House) -> None:
    """Also after it has run out, as long as nobody did; never after the epoch has ended."""
    ours, theirs = begin(house), begin(house)
    assert epochs.living(house.tx, LEASE_NS - 1) == 3
    assert epochs.renew(house.tx, ours.number, 3 * LEASE_NS)
    assert epochs.living(house.tx, 3 * LEASE_NS) == 2, "the house itself, whose lease is long, and ours"
    (dead,) = [one for one in epochs.others(house.tx, theirs.number, 0) if one.number == ours.number]
    assert epochs.take_over(house.tx, dead, theirs.number)
    assert not epochs.renew(house.tx, ours.number, 4 * LEASE_NS)
    assert epochs.end(house.tx, theirs.number, 1)
    assert not epochs.renew(house.tx, theirs.number, 4 * LEASE_NS)


def test_one_of_two_takers_gets_it(house: House) -> None:
    """And neither does when the dead one has come back to life since it was looked at."""
    ours, first, second = begin(house), begin(house), begin(house)
    (seen,) = [one for one in epochs.others(house.tx, first.number, 0) if one.number == ours.number]
    assert epochs.renew(house.tx, ours.number, 9)
    assert not epochs.take_over(house.tx, seen, first.number)
    (seen,) = [one for one in epochs.others(house.tx, first.number, 0) if one.number == ours.number]
    assert epochs.take_over(house.tx, seen, first.number)
    assert not epochs.take_over(house.tx, seen, second.number)
    assert epochs.taken(house.tx, first.number) == [(ours.number, "here")]
    assert epochs.taken(house.tx, second.number) == []


def test_what_a_dead_taker_took_is_taken_from_it(house: House) -> None:
    """Whoever looks sees who has it and whether that one lives."""
    ours, taker, heir = begin(house), begin(house, home="there"), begin(house)
    (seen,) = [one for one in epochs.others(house.tx, taker.number, 0) if one.number == ours.number]
    assert epochs.take_over(house.tx, seen, taker.number)
    for lease_now, lives in ((LEASE_NS - 1, True), (LEASE_NS, False)):
        (seen,) = [one for one in epochs.others(house.tx, heir.number, lease_now) if one.number == ours.number]
        assert (seen.taken_by, seen.taker_lives, seen.taker_home) == (taker.number, lives, "there")
    assert epochs.take_over(house.tx, seen, heir.number)
    assert epochs.taken(house.tx, taker.number) == []


def test_an_epoch_ends_when_nothing_of_it_is_open(house: House) -> None:
    """Neither a hold nor a slice; and it ends once."""
    house.give("acme", "1")
    house.hold(1, "acme", 1, 1)
    assert not epochs.end(house.tx, house.epoch, 5)
    house.settle(1, 1, 1)
    assert not epochs.is_over(house.tx, house.epoch)
    assert epochs.end(house.tx, house.epoch, 7)
    assert epochs.is_over(house.tx, house.epoch)
    assert not epochs.end(house.tx, house.epoch, 8)
