"""Grants: given once, spent in order, expired once, whatever is held of them meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.money.house import House, payer, request

from millrace.base.errors import Reason, Refusal
from millrace.base.money import MAX_NANO, NANO, parse_amount, render_amount
from millrace.money.billing.serving import SOURCES_FIRST
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Balance, Funding
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger

DAY_S = 86_400


def standing(house: House, account: str) -> int:
    """Credits less debits of an account, posted."""
    found = ledger.account(house.tx, account)
    return 0 if found is None else found.credits_posted - found.debits_posted


def test_a_grant_is_a_liability_against_its_funding(house: House) -> None:
    """Money paid in stands against cash, a gift against promotion, a sponsor's against the sponsor."""
    house.give("acme", "10", funding=Funding.CUSTOMER)
    house.give("acme", "20", funding=Funding.OPERATOR)
    house.give("acme", "30", funding=Funding.SPONSOR)
    assert [standing(house, f"{name}/CNY") for name in ("cash", "promotion", "sponsor")] == [-10 * NANO, -20 * NANO, -30 * NANO]
    assert house.balance("acme") == Balance(currency="CNY", balance=60 * NANO, held=0, credit_limit=0)
    assert house.balance("mole").available == 0
    assert house.disagreements() == []


def test_the_same_key_gives_once(house: House) -> None:
    """A repeated request, with a new id and at a later time, is answered with the first grant, even when that is
    expired.
    """
    first = house.give("acme", "10", key="k1", expires_in_s=DAY_S)
    house.clock.advance(2 * DAY_S)
    again = grants.new_grant(
        id="gr_other", tenant_id="ten_acme", amount=10 * NANO, currency="CNY", funding=Funding.CUSTOMER,
        now=house.clock.now(), expires_at=first.expires_at, idempotency_key="k1",
    )  # fmt: skip
    assert house.do(lambda tx: grants.give(tx, again)) == first
    assert len(grants.of_tenant(house.tx, "ten_acme")) == 1
    assert house.disagreements() == []


def test_the_same_id_gives_once(house: House) -> None:
    """A grant without a key is made once by its id."""
    first = house.give("acme", "10", id_="gr_x")
    assert house.give("acme", "10", id_="gr_x") == first
    with pytest.raises(Refusal, match="id gr_x was used") as refused:
        house.give("acme", "11", id_="gr_x")
    assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT
    assert house.balance("acme").balance == 10 * NANO


def test_the_same_key_with_other_content_is_refused(house: House) -> None:
    """Other amount, funding or expiry; another tenant's same key is another key."""
    house.give("acme", "10", key="k1")
    with pytest.raises(Refusal, match="idempotency key 'k1' was used") as refused:
        house.give("acme", "11", key="k1")
    assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT
    for change in ({"funding": Funding.OPERATOR}, {"expires_in_s": 5}):
        with pytest.raises(Refusal):
            house.give("acme", "10", key="k1", **change)
    house.give("mole", "11", key="k1")
    assert (house.balance("acme").balance, house.balance("mole").balance) == (10 * NANO, 11 * NANO)


@pytest.mark.parametrize(("amount", "expires_in_s"), [("0", None), ("-1", None), ("1", 0), ("1", -5)])
def test_nothing_and_the_past_are_refused(house: House, amount: str, expires_in_s: int | None) -> None:
    """A grant is more than 0 and expires later."""
    with pytest.raises(Refusal) as refused:
        house.give("acme", amount, expires_in_s=expires_in_s)
    assert refused.value.reason is Reason.INVALID_REQUEST


def test_more_than_an_account_can_hold_is_refused_in_words(house: House) -> None:
    """The funding account is full: nothing of the grant is kept."""
    house.give("acme", render_amount(MAX_NANO - 5))
    with pytest.raises(Refusal, match="cash/CNY would hold more"):
        house.give("mole", "1")
    house.give("mole", "1", funding=Funding.OPERATOR)
    assert house.disagreements() == []


def test_the_order_of_spending(house: House) -> None:
    """Gifts before a sponsor's before own money; then what expires first; then the older; what is used up is passed
    over.
    """
    own = house.give("acme", "1")
    late = house.give("acme", "1", funding=Funding.OPERATOR)
    soon = house.give("acme", "1", funding=Funding.OPERATOR, expires_in_s=2 * DAY_S)
    sooner = house.give("acme", "1", funding=Funding.OPERATOR, expires_in_s=DAY_S)
    sponsored = house.give("acme", "1", funding=Funding.SPONSOR)
    younger = house.give("acme", "1")
    order = [names.grant(grant.id) for grant in (sooner, soon, late, sponsored, own, younger)]
    assert [one.account for one in live(house)] == order
    assert [one.account for one in live(house, first=2)] == order[:2]
    held = house.hold(1, "acme", 1_500, 0)
    assert [(leg.account, leg.amount) for leg in held.draws] == [(order[0], NANO), (order[1], NANO // 2)]
    assert [(one.free, one.unspent) for one in live(house)] == [(0, NANO), (NANO // 2, NANO), *[(NANO, NANO)] * 4]
    house.clock.advance(DAY_S)
    assert [one.account for one in live(house)] == order[1:]


def live(house: House, *, first: int = MAX_NANO) -> list[grants.Live]:
    return grants.live(house.tx, ["ten_acme"], house.clock.now(), first=first)


def test_the_first_of_each_tenant_are_looked_at(house: House) -> None:
    """So many of each, not so many of all."""
    for _ in range(3):
        house.give("acme", "1")
        house.give("bolt", "1")
    found = grants.live(house.tx, ["ten_acme", "ten_bolt", "ten_mole"], house.clock.now(), first=2)
    assert [one.tenant_id for one in found] == ["ten_acme"] * 2 + ["ten_bolt"] * 2


def test_a_hold_larger_than_the_first_grants_sees_all_and_the_credit(house: House) -> None:
    """Ten grants and what may be owed: all of it can be held by one request, and not a token more."""
    for _ in range(10):
        house.give("bolt", "1")
    with pytest.raises(Refusal):
        house.hold(1, "bolt", 15_001, 0)
    assert house.hold(1, "bolt", 15_000, 0).legs == 11


def test_used_up_grants_are_forgotten(house: House) -> None:
    """What is used up is looked at once more and leaves the list; the next hold finds the live one at once."""
    for number in range(30):
        house.give("acme", "0.001")
        house.hold(number, "acme", 1, 0)
        house.settle(number, 1, 0)
    house.give("acme", "1")
    house.hold(100, "acme", 500, 0)
    assert len(house.tx.rows("SELECT grant_id FROM live_grant WHERE tenant_id = 'ten_acme'")) <= SOURCES_FIRST
    assert house.disagreements() == []


def test_expiry_takes_what_is_left_and_nobody_holds(house: House) -> None:
    """A running request keeps what it holds of an expired grant; what it gives back is taken by the next sweep."""
    house.give("acme", "10", expires_in_s=DAY_S)
    house.hold(1, "acme", 4_000, 0)
    house.clock.advance(DAY_S)
    assert house.expire() == 1
    assert house.expire() == 0
    assert standing(house, "breakage/CNY") == 6 * NANO
    assert house.balance("acme") == Balance(currency="CNY", balance=4 * NANO, held=4 * NANO, credit_limit=0)
    with pytest.raises(Refusal, match=r"1\.000000000 of that is missing"):
        house.hold(2, "acme", 1_000, 0)
    usage = house.settle(1, 1_000, 0)
    assert usage.amount == NANO
    assert house.balance("acme").available == 0
    assert house.expire() == 1
    assert standing(house, "breakage/CNY") == 9 * NANO
    assert house.tx.rows("SELECT * FROM live_grant") == []
    assert house.disagreements() == []


def test_an_expired_gift_goes_back_to_promotion(house: House) -> None:
    """Nobody paid for it, so its expiry is no income: the gift cost less than it was booked at. A sponsor's is
    breakage.
    """
    house.give("acme", "10", funding=Funding.OPERATOR, expires_in_s=DAY_S)
    house.give("acme", "3", funding=Funding.SPONSOR, expires_in_s=DAY_S)
    house.clock.advance(DAY_S)
    house.expire()
    assert (standing(house, "promotion/CNY"), standing(house, "breakage/CNY")) == (0, 3 * NANO)
    assert house.disagreements() == []


def test_grants_that_running_requests_hold_whole_do_not_stop_the_sweep(house: House) -> None:
    """As many of them as are looked at in one sweep, and the others are expired all the same."""
    for _ in range(grants.EXPIRED_AT_ONCE):
        house.give("acme", "0.001", expires_in_s=DAY_S)
    assert house.hold(1, "acme", grants.EXPIRED_AT_ONCE, 0).legs == grants.EXPIRED_AT_ONCE
    house.give("acme", "1", expires_in_s=DAY_S + 1)
    house.clock.advance(DAY_S + 1)
    assert house.expire() == 1
    assert house.balance("acme").balance == NANO
    assert house.disagreements() == []


def test_an_expired_grant_is_not_spent(house: House) -> None:
    """Also when no sweep has come yet: at its very instant it is over."""
    house.give("acme", "1", expires_in_s=DAY_S)
    house.clock.advance(DAY_S)
    assert house.balance("acme").available == 0
    with pytest.raises(Refusal):
        house.hold(1, "acme", 1, 0)


def test_a_clock_that_steps_back_revives_nothing(house: House) -> None:
    """What was taken at expiry stays taken when the clock says that it has not expired yet."""
    house.give("acme", "10", expires_in_s=DAY_S)
    house.clock.advance(DAY_S)
    house.expire()
    house.clock.advance(-DAY_S)
    assert house.balance("acme").available == 0
    with pytest.raises(Refusal):
        house.hold(1, "acme", 1, 0)
    assert house.expire() == 0
    assert house.disagreements() == []


def test_a_postpaid_tenant_spends_grants_and_then_its_credit(house: House) -> None:
    """Its own account comes last, and goes below zero by no more than the credit limit."""
    house.give("bolt", "1", funding=Funding.OPERATOR)
    assert house.balance("bolt").available == 6 * NANO
    house.hold(1, "bolt", 6_000, 0)
    with pytest.raises(Refusal) as refused:
        house.hold(2, "bolt", 1, 0)
    assert refused.value.reason is Reason.INSUFFICIENT_CREDIT
    house.settle(1, 3_000, 0)
    assert house.balance("bolt") == Balance(currency="CNY", balance=-2 * NANO, held=0, credit_limit=5 * NANO)
    assert payer("bolt").tenant_id == "ten_bolt"
    assert request(1) == "req_00000000000000000000000001"


pieces = st.lists(st.integers(1, 3_000), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(pieces, pieces)
def test_nothing_is_lost_between_grants_and_holds(given_: list[int], wanted: list[int]) -> None:
    """However grants and requests are cut, the sum is the same: what was given is used, held or left."""
    house = House()
    for amount in given_:
        house.give("acme", render_amount(amount * 1_000_000))
    total = sum(given_)
    held = 0
    for number, tokens in enumerate(wanted):
        try:
            house.hold(number, "acme", tokens, 0)
        except Refusal:
            assert tokens > total - held
            continue
        held += tokens
        assert held <= total
    assert house.balance("acme") == Balance(
        currency="CNY", balance=parse_amount("0.001") * total, held=held * 1_000_000, credit_limit=0
    )
    assert house.disagreements() == []
