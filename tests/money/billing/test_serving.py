"""Orders served together: the same as one by one, whoever else is in the batch; rates and claims in the hold's own transaction.
"""

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.money.house import House, outcome, payer, record, request

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO, render_amount
from millrace.money.allowances.allowance import Rate
from millrace.money.billing.orders import Order, ToExtend, ToFlush, ToHold, ToSettle, ToTend
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import Answered, Claim, Repeated, Space, State
from millrace.money.metering.usage import Status, Usage

STOOD = (
    "SELECT * FROM account WHERE debits_posted + debits_pending + credits_posted + credits_pending > 0",
    "SELECT id, kind, debit_account, credit_account, amount FROM transfer",
    "SELECT grant_id FROM live_grant JOIN account ON id = account WHERE credits_posted > debits_posted",
    "SELECT request_id, status, input, output, waived, amount FROM usage",
    "SELECT * FROM budget WHERE held + spent > 0",
    "SELECT * FROM open_hold", "SELECT * FROM bucket", "SELECT * FROM lease", "SELECT * FROM idempotency",
)  # fmt: skip


def a_house(amounts: list[int]) -> House:
    """With grants of so many thousandths of a yuan for acme, and the price that orders are made with."""
    house = House()
    for amount in amounts:
        house.give("acme", render_amount(amount * NANO // 1_000))
    return house


def stood(house: House) -> list[list[tuple[Any, ...]]]:
    """What the books come to; rows of zeros that nobody has used yet are nothing."""
    return [sorted(house.tx.rows(question), key=repr) for question in STOOD]


def said(answer: object) -> object:
    """An answer so that two can be compared."""
    return (type(answer), str(answer)) if isinstance(answer, Exception) else answer


numbers = st.integers(0, 7)
"""Few, so that orders meet: a request is held twice, settled before it is held, extended after it is settled."""


@st.composite
def orders(draw: st.DrawFn) -> Order:
    kind, number = draw(st.sampled_from(["hold", "hold", "hold", "extend", "settle", "settle"])), draw(numbers)
    who = payer(("acme", "bolt")[number % 2], budget=number % 4 < 2)
    price = _PRICE
    if kind == "hold":
        return ToHold(
            request_id=request(number), payer=who, price=price, input_bound=draw(st.sampled_from([100, 700])),
            output_bound=draw(st.integers(0, 600)),
        )  # fmt: skip
    if kind == "extend":
        return ToExtend(request_id=request(number), payer=who, price=price, output_bound=draw(st.integers(0, 1_500)))
    ended = outcome(draw(st.integers(0, 800)), draw(st.integers(0, 900)), waived=draw(st.integers(0, 3)))
    return ToSettle(request_id=request(number), outcome=ended, price=price)


_PRICE = House().price["tiny"]

grants_of_acme = st.lists(st.integers(1, 900), max_size=8)


def served(amounts: list[int], batches: list[list[Order]]) -> tuple[House, list[object]]:
    house = a_house(amounts)
    answers = [said(answer) for batch in batches for answer in house.ask(*batch)]
    assert house.disagreements() == []
    return house, answers


@settings(max_examples=80, deadline=None)
@given(amounts=grants_of_acme, wanted=st.lists(orders(), max_size=14), cuts=st.sets(st.integers(1, 13)))
def test_a_batch_is_as_its_orders_one_by_one(amounts: list[int], wanted: list[Order], cuts: set[int]) -> None:
    """The same answers and the same books, however the orders are cut into batches."""
    one_by_one, alone = served(amounts, [[order] for order in wanted])
    places = [0, *sorted(cut for cut in cuts if cut < len(wanted)), len(wanted)]
    for batches in ([wanted], [wanted[start:end] for start, end in pairwise(places)]):
        together, answers = served(amounts, batches)
        assert answers == alone
        assert stood(together) == stood(one_by_one)


@settings(max_examples=60, deadline=None)
@given(amounts=grants_of_acme, wanted=st.lists(orders(), max_size=14), data=st.data())
def test_tenants_do_not_see_each_other(amounts: list[int], wanted: list[Order], data: st.DataObject) -> None:
    """Orders of two tenants may be shuffled into each other in any way: each gets the answers that it would get alone."""
    theirs = [[order for order in wanted if _of_acme(order) is acme] for acme in (True, False)]
    merged = data.draw(st.permutations([0] * len(theirs[0]) + [1] * len(theirs[1])))
    left = [list(theirs[0]), list(theirs[1])]
    shuffled = [left[tenant].pop(0) for tenant in merged]
    house, answers = served(amounts, [shuffled])
    for tenant, own in enumerate(theirs):
        _, alone = served(amounts, [own])
        assert [answer for answer, who in zip(answers, merged, strict=True) if who == tenant] == alone
    one, _ = served(amounts, [wanted])
    assert stood(house) == stood(one)


OF_ACME = {request(number) for number in range(0, 8, 2)}


def _of_acme(order: Order) -> bool:
    return isinstance(order, ToHold | ToExtend | ToSettle) and order.request_id in OF_ACME


def test_a_time_zone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Months of budgets and days of usage are UTC, wherever the server stands."""
    stories = []
    for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        house = a_house([9_000])
        house.clock.advance(8 * 86_400 - 1)
        house.hold(1, "acme", 100, 100, budget=True)
        house.clock.advance(2)
        house.hold(2, "acme", 100, 100, budget=True)
        house.settle(1, 10, 10)
        stories.append((stood(house), [house.budget_of("key_acme_small", month) for month in ("2026-11", "2026-12")]))
    monkeypatch.delenv("TZ")
    time.tzset()
    assert stories[0] == stories[1] == stories[2]
    assert stories[0][1] == [(30_000_000, 0), (0, 300_000_000)]


def test_a_refused_order_touches_no_neighbour(house: House) -> None:
    """Refusals of every kind between orders that are served; each order has its own answer, in its place."""
    house.give("acme", "1")
    hold = ToHold(request_id=request(1), payer=payer("acme"), price=house.price["tiny"], input_bound=400, output_bound=0)
    poor = structs.replace(hold, request_id=request(2), input_bound=601)
    settled = ToSettle(request_id=request(1), outcome=outcome(100, 0), price=house.price["tiny"])
    never = structs.replace(settled, request_id=request(9))
    answers = house.ask(hold, poor, never, settled, structs.replace(poor, input_bound=900), ToTend(), hold)
    reasons = [answer.reason if isinstance(answer, Refusal) else type(answer).__name__ for answer in answers]
    assert reasons == [
        "OpenHold", Reason.INSUFFICIENT_CREDIT, "LookupError", "Usage", "OpenHold", "int", Reason.CONFLICT,
    ]  # fmt: skip
    assert house.balance("acme").held == 900_000_000
    assert house.disagreements() == []


def test_a_flush_that_comes_with_its_settlement_is_too_late(house: House) -> None:
    """No mark is left for a request that is settled in the same batch, and none for one that never was."""
    house.give("acme", "1")
    house.hold(1, "acme", 100, 0)
    house.hold(2, "acme", 100, 0)
    marks = tuple((request(number), record(number, output=3, confirmed=2)) for number in (1, 2, 3))
    house.ask(ToFlush(marks), ToSettle(request_id=request(1), outcome=outcome(100, 0)))
    assert house.tx.rows("SELECT request_id, watermark FROM open_hold") == [(request(2), marks[1][1])]


def limited(house: House, number: int, units: int, *, limit: int = 600, name: str = "tpm") -> ToHold:
    return ToHold(
        request_id=request(number), payer=payer("acme"), price=house.price["free"], input_bound=units, output_bound=0,
        rates=(Rate("key_acme", name, limit, units),),
    )  # fmt: skip


def test_a_minute_is_shared_by_all_servers(house: House) -> None:
    """Two servers together admit what the key has, to the token; a refusal takes nothing and says when to come back."""
    a, b = house.another(), house.another()
    for number, ours in enumerate((a, b, a)):
        assert not isinstance(house.must(limited(house, number, 200), ours=ours), Exception)
    with pytest.raises(Refusal, match="used up; come back in 1 s") as refused:
        house.must(limited(house, 4, 10), ours=b)
    assert (refused.value.reason, refused.value.limit) == (Reason.RATE_LIMIT_EXCEEDED, "tpm")
    house.clock.advance(1)
    house.must(limited(house, 5, 10), ours=b)
    with pytest.raises(Refusal):
        house.must(limited(house, 6, 1), ours=a)


def test_unused_tokens_go_back_to_the_minute(house: House) -> None:
    """Held for 600 and used 100: 500 are there at once, and never more than the limit."""
    house.must(limited(house, 1, 600))
    back = Rate("key_acme", "tpm", 600, 500)
    house.must(ToSettle(request_id=request(1), outcome=outcome(100, 0), unused=back))
    house.must(ToSettle(request_id=request(1), outcome=outcome(100, 0), unused=back))
    house.must(limited(house, 2, 500))
    with pytest.raises(Refusal):
        house.must(limited(house, 3, 1))
    house.clock.advance(120)
    house.must(ToSettle(request_id=request(2), outcome=outcome(1, 0), unused=back))
    with pytest.raises(Refusal, match="never fits"):
        house.must(limited(house, 4, 601))
    house.must(limited(house, 4, 600))


def test_a_changed_limit_holds_from_now_on(house: House) -> None:
    """A lower one cuts what is left to itself; a higher one fills up with time."""
    house.must(limited(house, 1, 100))
    with pytest.raises(Refusal):
        house.must(limited(house, 2, 61, limit=60))
    house.must(limited(house, 2, 60, limit=60))
    with pytest.raises(Refusal):
        house.must(limited(house, 3, 1, limit=6_000))
    house.clock.advance(1)
    house.must(limited(house, 3, 100, limit=6_000))


def test_a_hold_that_is_refused_takes_nothing_of_the_minute(house: House) -> None:
    """Refused for credit after the rate was looked at, or for the second of two rates."""
    dear = structs.replace(limited(house, 1, 100), price=house.price["tiny"])
    both = (Rate("key_acme", "rpm", 1, 1), Rate("key_acme", "tpm", 600, 601))
    for order in (dear, structs.replace(limited(house, 2, 1), rates=both)):
        with pytest.raises(Refusal):
            house.must(order)
    house.must(limited(house, 3, 600))
    house.must(limited(house, 4, 1, limit=1, name="rpm"))


def keyed(house: House, number: int, *, key: str = "k", tokens: int = 100, body: str = "same") -> ToHold:
    claim = Claim(
        key=key, tenant_id="ten_acme", body=body, request_id=request(number), epoch=house.epoch,
        space_max=Space(keys=100, bytes=10**9),
    )  # fmt: skip
    return ToHold(
        request_id=request(number), payer=payer("acme"), price=house.price["tiny"], input_bound=tokens, output_bound=0,
        claim=claim,
    )  # fmt: skip


def ending(number: int, tokens: int, *, answer: bytes | None = None) -> ToSettle:
    answered = None
    if answer is not None:
        answered = Answered(request_id=request(number), status=200, form="text/plain", answer=answer)
    return ToSettle(request_id=request(number), outcome=outcome(tokens, 0), keyed=True, answer=answered)


def state_of(house: House) -> State | None:
    found = idempotency.find(house.tx, "ten_acme", "k")
    return None if found is None else found.state


def test_a_key_is_claimed_with_the_hold(house: House) -> None:
    """One of two requests with a key is held, in one batch or in two; the other is told, and holds nothing."""
    house.give("acme", "1")
    first, second = house.ask(keyed(house, 1), keyed(house, 2))
    assert not isinstance(first, Exception)
    assert isinstance(second, Repeated)
    (third,) = house.ask(keyed(house, 3))
    assert isinstance(third, Repeated)
    assert (house.balance("acme").held, state_of(house)) == (100_000_000, State.RUNNING)
    assert house.must(keyed(house, 1)) == first
    assert house.disagreements() == []


def test_a_refused_hold_gives_its_key_back(house: House) -> None:
    """In the same transaction: the client may add credit and send the same again."""
    (refused,) = house.ask(keyed(house, 1))
    assert isinstance(refused, Refusal)
    assert state_of(house) is None
    house.give("acme", "1")
    assert not isinstance(house.must(keyed(house, 2)), Exception)
    assert house.disagreements() == []


@pytest.mark.parametrize(
    ("tokens", "answer", "state"), [(100, b"hello", State.KEPT), (100, None, State.LOST), (0, b"hello", None), (0, None, None)]
)
def test_a_claim_ends_with_its_request(house: House, tokens: int, answer: bytes | None, state: State | None) -> None:
    """Billed with an answer: kept. Billed without: lost. Nothing billed: the key is free again."""
    house.give("acme", "1")
    house.must(keyed(house, 1))
    house.must(ending(1, tokens, answer=answer))
    assert state_of(house) is state
    house.must(ending(1, tokens, answer=b"another"))
    found = idempotency.find(house.tx, "ten_acme", "k")
    assert (found.answer if found else None) == (None if state is None else answer or b"")
    assert house.disagreements() == []


def test_an_outcome_that_is_refused_leaves_the_claim(house: House) -> None:
    """A settlement by a server that is not the hold's own ends nothing."""
    house.give("acme", "1")
    house.must(keyed(house, 1))
    (answer,) = house.ask(ending(1, 100, answer=b"x"), ours=house.another())
    assert isinstance(answer, Refusal)
    assert state_of(house) is State.RUNNING
    usage = house.must(structs.replace(ending(1, 100), outcome=outcome(100, 0, status=Status.FAILED)))
    assert isinstance(usage, Usage)
    assert state_of(house) is State.LOST
