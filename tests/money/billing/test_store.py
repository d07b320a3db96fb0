"""Hold, extend and resolve on a transaction. Prices: one token in 0.001, one out 0.002 yuan, so 1,000 in cost 1 yuan.
"""

import pytest
from msgspec import structs
from tests.money.house import BUDGET, House, outcome, payer, record, request

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO
from millrace.base.times import parse_time
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.billing import store as billing
from millrace.money.billing.hold import Outcome, clip
from millrace.money.billing.orders import ToExtend, ToFlush, ToSettle
from millrace.money.billing.succession import of_the_dead
from millrace.money.metering.journal import Watermark, read_record
from millrace.money.metering.usage import Status
from millrace.money.rating.book import parse_price
from millrace.money.rating.store import import_price
from millrace.store.transaction import Conflict


def refusal(error: pytest.ExceptionInfo[Refusal]) -> Reason:
    return error.value.reason


def test_a_hold_reserves_the_most_and_settles_at_what_it_was(house: House) -> None:
    """Reserved: 100 in, 200 out. Charged: 90 in, 20 out. The rest is free again."""
    house.give("acme", "10")
    held = house.hold(1, "acme", 100, 200)
    assert held.amount == NANO // 2
    assert (house.balance("acme").held, house.balance("acme").available) == (NANO // 2, 9 * NANO + NANO // 2)
    usage = house.settle(1, 90, 20)
    assert (usage.amount, usage.tokens.input, usage.tokens.output) == (130_000_000, 90, 20)
    assert house.balance("acme").available == 10 * NANO - 130_000_000
    assert house.disagreements() == []


def test_a_hold_never_overdraws(house: House) -> None:
    """The refusal says how much is missing, keeps nothing, and the next smaller request is taken."""
    house.give("acme", "1")
    with pytest.raises(Refusal, match=r"up to 1\.002000000 CNY, and 0\.002000000 of that is missing") as refused:
        house.hold(1, "acme", 1_000, 1)
    assert refusal(refused) is Reason.INSUFFICIENT_CREDIT
    house.hold(2, "acme", 1_000, 0)
    with pytest.raises(Refusal):
        house.hold(3, "acme", 0, 1)
    assert house.disagreements() == []


def test_many_grants_make_many_legs_and_one_charge(house: House) -> None:
    """The charge is posted over the legs in their order, and what is left of them is given back."""
    for _ in range(3):
        house.give("acme", "1")
    held = house.hold(1, "acme", 2_500, 0)
    assert held.legs == 3
    house.settle(1, 1_250, 0)
    ends = house.tx.rows("SELECT kind, amount FROM transfer WHERE pending_id IS NOT NULL ORDER BY id")
    assert ends == [("post", NANO), ("post", NANO // 4), ("void", 0)]
    assert house.disagreements() == []


def test_the_same_hold_again_is_the_same_hold(house: House) -> None:
    """Nothing is reserved twice, also when nothing would be left for a second one; other content is refused."""
    house.give("acme", "1")
    first = house.hold(1, "acme", 1_000, 0, budget=True)
    assert house.hold(1, "acme", 1_000, 0, budget=True) == first
    assert house.balance("acme").held == NANO
    assert house.budget_of("key_acme_small", "2026-11") == (0, NANO)
    with pytest.raises(Refusal) as refused:
        house.hold(1, "acme", 999, 0, budget=True)
    assert refusal(refused) is Reason.IDEMPOTENCY_CONFLICT
    house.give("acme", "5")
    with pytest.raises(Refusal) as refused:
        house.hold(1, "acme", 1_000, 0)
    assert refusal(refused) is Reason.IDEMPOTENCY_CONFLICT
    assert house.hold(1, "acme", 1_000, 0, budget=True) == first
    assert house.disagreements() == []


def test_a_settled_request_is_never_held_again(house: House) -> None:
    """An id is good for one charge, one that came to nothing included."""
    house.give("acme", "10")
    for number, model in ((1, "tiny"), (2, "free")):
        house.hold(number, "acme", 10, 10, model=model)
        house.settle(number, 5, 5, model=model)
        with pytest.raises(Refusal, match="settled already") as refused:
            house.hold(number, "acme", 10, 10, model=model)
        assert refusal(refused) is Reason.CONFLICT
    assert house.disagreements() == []


def test_settling_again_answers_the_first_row(house: House) -> None:
    """Whatever the second outcome says: a request is billed once."""
    house.give("acme", "10")
    house.hold(1, "acme", 10, 10)
    first = house.settle(1, 10, 1)
    house.clock.advance(5)
    assert house.settle(1, 10, 10) == first
    assert house.tx.rows("SELECT COUNT(*) FROM usage") == [(1,)]
    assert house.disagreements() == []


def test_a_request_without_a_hold_cannot_be_settled(house: House) -> None:
    """Nothing is charged that was not reserved."""
    with pytest.raises(LookupError):
        house.settle(1, 1, 1)


def test_nothing_released_is_a_void(house: House) -> None:
    """A usage row of 0 tokens says so; waived tokens stand beside it."""
    house.give("acme", "10")
    house.hold(1, "acme", 100, 100, budget=True)
    usage = house.settle(1, 0, 0, waived=130)
    assert (usage.amount, usage.waived, usage.tier) == (0, 130, 0)
    assert house.tx.rows("SELECT kind FROM transfer WHERE pending_id IS NOT NULL") == [("void",)]
    assert (house.balance("acme").available, house.budget_of("key_acme_small", "2026-11")) == (10 * NANO, (0, 0))
    assert house.disagreements() == []


def test_more_than_was_held_for_is_waived(house: House) -> None:
    """An engine that makes or counts more than was asked for: charged is the bound, the rest is counted as waived."""
    house.give("acme", "10")
    house.hold(1, "acme", 100, 10)
    ended = Outcome(status=Status.COMPLETED, counts=TokenCounts(120, 110, 14, 13), counted_by=CountedBy.ENGINE, waived=1)
    usage = house.must(ToSettle(request_id=request(1), outcome=ended))
    assert (usage.tokens, usage.waived) == (TokenCounts(100, 100, 10, 10), 1 + 20 + 4)
    assert usage.amount == 100 * 100_000 + 10 * 2_000_000
    assert house.disagreements() == []


def test_clip_takes_nothing_off_what_fits() -> None:
    """Counts within the bounds are the counts."""
    counts = TokenCounts(5, 2, 7, 1)
    assert clip(counts, 5, 7) == (counts, 0)
    assert clip(counts, 4, 7) == (TokenCounts(4, 2, 7, 1), 1)
    assert clip(counts, 1, 0) == (TokenCounts(1, 1, 0, 0), 4 + 7)


def test_extending_adds_what_is_missing(house: House) -> None:
    """A rolling hold grows by legs of its own and is settled as one."""
    house.give("acme", "1")
    house.give("acme", "1")
    house.hold(1, "acme", 100, 100, budget=True)
    extended = house.extend(1, "acme", 700, budget=True)
    assert (extended.amount, extended.output_bound, extended.legs) == (NANO + NANO // 2, 700, 3)
    assert house.balance("acme").held == NANO + NANO // 2
    assert house.budget_of("key_acme_small", "2026-11") == (0, NANO + NANO // 2)
    assert house.disagreements() == []
    assert house.settle(1, 100, 650).amount == NANO + 400_000_000
    assert house.budget_of("key_acme_small", "2026-11") == (NANO + 400_000_000, 0)
    assert house.disagreements() == []


def test_extending_again_or_to_less_changes_nothing(house: House) -> None:
    """A bound never shrinks under a running stream, and a repeated extension reserves once."""
    house.give("acme", "10")
    house.hold(1, "acme", 100, 100)
    extended = house.extend(1, "acme", 200)
    assert house.extend(1, "acme", 200) == extended
    assert house.extend(1, "acme", 50) == extended
    assert house.settle(1, 100, 200).tokens.output == 200
    assert house.disagreements() == []


def test_a_refused_extension_leaves_the_hold(house: House) -> None:
    """For lack of credit or of budget; what was released up to then is settled as if nobody had asked."""
    house.give("acme", "1")
    house.hold(1, "acme", 100, 100, budget=True)
    with pytest.raises(Refusal) as refused:
        house.extend(1, "acme", 1_000, budget=True)
    assert refusal(refused) is Reason.INSUFFICIENT_CREDIT
    house.give("acme", "10")
    with pytest.raises(Refusal) as refused:
        house.extend(1, "acme", 1_000, budget=True)
    assert refusal(refused) is Reason.BUDGET_EXCEEDED
    assert house.balance("acme").held == 300_000_000
    assert house.settle(1, 100, 100).amount == 300_000_000
    assert house.disagreements() == []


def test_a_settled_request_cannot_be_extended(house: House) -> None:
    """A stream that lost its hold to the sweeper stops."""
    house.give("acme", "1")
    house.hold(1, "acme", 1, 1)
    house.settle(1, 1, 1)
    with pytest.raises(Refusal) as refused:
        house.extend(1, "acme", 2)
    assert refusal(refused) is Reason.CONFLICT


def test_a_free_model_is_held_without_money(house: House) -> None:
    """A tenant without any balance may use what costs nothing, and has a receipt for it."""
    held = house.hold(1, "mole", 1_000, 1_000, model="free", budget=True)
    assert (held.amount, held.legs) == (0, 0)
    assert house.settle(1, 1_000, 500, model="free").amount == 0
    assert house.disagreements() == []


def test_a_budget_is_not_overshot(house: House) -> None:
    """What is held counts as spent until it is not; the refusal says what is left and when the month ends."""
    house.give("acme", "100")
    house.hold(1, "acme", 1_500, 0, budget=True)
    with pytest.raises(Refusal, match=r"2026-11 has 0\.500000000 left") as refused:
        house.hold(2, "acme", 501, 0, budget=True)
    assert refusal(refused) is Reason.BUDGET_EXCEEDED
    assert refused.value.retry_after_s == 8 * 86_400
    assert refused.value.limit == "budget"
    house.settle(1, 400, 0)
    house.hold(2, "acme", 1_600, 0, budget=True)
    with pytest.raises(Refusal):
        house.hold(3, "acme", 1, 0, budget=True)
    assert house.budget_of("key_acme_small", "2026-11") == (400_000_000, 1_600_000_000)
    assert house.disagreements() == []


def test_the_first_request_may_not_be_larger_than_the_budget(house: House) -> None:
    """There is no row of the month yet, and what the refusal leaves says that nothing is held or spent."""
    house.give("acme", "100")
    with pytest.raises(Refusal, match=r"has 2\.000000000 left"):
        house.hold(1, "acme", BUDGET // 1_000_000 + 1, 0, budget=True)
    assert house.budget_of("key_acme_small", "2026-11") == (0, 0)
    assert house.tx.rows("SELECT * FROM transfer WHERE kind = 'pending'") == []


def test_a_request_counts_in_the_month_that_it_began_in(house: House) -> None:
    """Held in November, extended and settled in December: November's budget; December's is whole."""
    house.give("acme", "100")
    house.clock.advance(8 * 86_400 - 1)
    house.hold(1, "acme", 1_000, 0, budget=True)
    house.clock.advance(10)
    house.extend(1, "acme", 100, budget=True)
    house.hold(2, "acme", 1_999, 0, budget=True)
    house.settle(1, 1_000, 50)
    assert house.budget_of("key_acme_small", "2026-11") == (NANO + 100_000_000, 0)
    assert house.budget_of("key_acme_small", "2026-12") == (0, 1_999_000_000)
    assert house.disagreements() == []


def test_a_clock_that_steps_back_makes_no_row_that_ends_before_it_began(house: House) -> None:
    """The usage row ends when it began at the earliest."""
    house.give("acme", "1")
    house.hold(1, "acme", 1, 1)
    house.clock.advance(-3_600)
    usage = house.settle(1, 1, 1)
    assert usage.finished_at == usage.started_at
    assert house.disagreements() == []


def test_the_price_is_the_one_that_was_held_at(house: House) -> None:
    """A price change between hold and settlement does not touch the request; another price is a bug, and keeps nothing.
    """
    house.give("acme", "10")
    house.hold(1, "acme", 100, 100)
    dearer = {"model": "tiny", "currency": "CNY", "input": "9000", "cached_input": "9000", "output": "9000"}
    newer, made = house.do(lambda tx: import_price(tx, parse_price(dearer, where="prices"), house.clock.now()))
    assert made
    with pytest.raises(AssertionError, match="cannot be rated"):
        house.must(ToSettle(request_id=request(1), outcome=outcome(1, 1), price=newer))
    with pytest.raises(AssertionError, match="cannot be rated"):
        house.must(ToExtend(request_id=request(1), payer=payer("acme"), price=newer, output_bound=200))
    assert house.settle(1, 100, 0).amount == 100_000_000
    assert house.disagreements() == []


def test_the_dead_are_settled_at_their_watermark(house: House) -> None:
    """What surely went out is charged, what was in doubt is waived; a request of which nothing is known is void."""
    house.give("acme", "10")
    for number in (1, 2, 3):
        house.hold(number, "acme", 100, 100)
    marks = (
        Watermark(TokenCounts(100, 0, 30, 0), 20, 0, CountedBy.ENGINE),
        Watermark(TokenCounts(100, 0, 30, 0), 0, 0, CountedBy.RELEASED_TEXT),
        Watermark(TokenCounts(150, 0, 130, 0), 120, 0, CountedBy.ENGINE),
    )
    orders = [of_the_dead(request(number), mark) for number, mark in enumerate(marks, 1)]
    strangers = house.ask(*(structs.replace(order, request_id=request(9)) for order in orders[:1]))
    assert isinstance(strangers[0], LookupError)
    house.reborn()
    rows = house.ask(*orders)
    assert [(row.tokens.input, row.tokens.output, row.waived) for row in rows] == [(100, 20, 10), (0, 0, 130), (100, 100, 80)]
    assert {row.status for row in rows} == {Status.FAILED}
    assert house.disagreements() == []


def test_only_its_own_server_or_its_taker_touches_a_hold(house: House) -> None:
    """Everybody else is told who does; nothing changes."""
    house.give("acme", "10")
    house.hold(1, "acme", 100, 100)
    house.reborn()
    house.taken = frozenset()
    for ask in (lambda: house.settle(1, 100, 1), lambda: house.extend(1, "acme", 200)):
        with pytest.raises(Refusal, match="took over epoch 1") as refused:
            ask()
        assert refusal(refused) is Reason.STORE_UNAVAILABLE
    assert house.balance("acme").held == 300_000_000
    house.taken = frozenset({1})
    assert house.settle(1, 100, 1).epoch == 1
    assert house.disagreements() == []


def test_what_an_epoch_left_is_read_in_pages_with_its_marks(house: House) -> None:
    """By request, after one of them; what was flushed comes with it, and another epoch's is not there."""
    house.give("acme", "10")
    for number in (1, 2, 3):
        house.hold(number, "acme", 100, 100)
    mark = record(2, output=30, confirmed=20)
    house.must(ToFlush(((request(2), mark),)))
    assert billing.left_by(house.tx, 1, "", 2) == [(request(1), None), (request(2), read_record(mark)[1])]
    assert billing.left_by(house.tx, 1, request(2), 2) == [(request(3), None)]
    assert billing.left_by(house.tx, 2, "", 9) == []
    house.reborn()
    house.must(ToFlush(((request(1), mark),)))
    assert billing.left_by(house.tx, 1, "", 1) == [(request(1), None)], "only its own server says how far a request is"


def test_a_credit_limit_has_a_limit(house: House) -> None:
    """More than the ledger can count is refused in words."""
    with pytest.raises(Refusal, match="credit_limit"):
        billing.open_credit(house.tx, "ten_mole", "CNY", 2**62 + 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage SET amount = 0", "UPDATE usage SET epoch = 0", "UPDATE usage SET status = 'failed'",
        "UPDATE usage SET key_id = 'key_mole'", "UPDATE usage SET started_at = 0", "DELETE FROM usage",
        (
            "INSERT INTO usage SELECT NULL, request_id, tenant_id, project_id, key_id, model, status, counted_by, input,"
            " cached_input, output, reasoning, waived, price_id, tier, amount, currency, epoch, started_at, finished_at, NULL"
            " FROM usage"
        ),
    ],
)  # fmt: skip
def test_a_usage_row_is_written_once(house: House, statement: str) -> None:
    """Whoever reaches the table past the code can neither change, delete nor repeat it; only its invoice is set."""
    house.give("acme", "1")
    house.hold(1, "acme", 1, 1)
    house.settle(1, 1, 1)
    with pytest.raises(Conflict):
        house.tx.run(statement)
    assert house.tx.run("UPDATE usage SET invoice_id = 'inv_1'") == 1
    with pytest.raises(Conflict, match="one invoice"):
        house.tx.run("UPDATE usage SET invoice_id = 'inv_2'")
    assert house.tx.run("UPDATE usage SET invoice_id = NULL") == 1


def test_the_cast_begins_on_a_monday() -> None:
    """The instants in these tests are what they say."""
    assert parse_time("2026-11-23", param="x") == House().clock.now()
