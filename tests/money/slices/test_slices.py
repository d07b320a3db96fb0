"""Slices of credit over two servers, A and B, that serve one tenant. Prices: 1,000 tokens in cost 1 yuan."""

from dataclasses import dataclass

import pytest
from msgspec import structs
from tests.money.house import House, outcome, payer, request

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO
from millrace.money.billing.desk import Ours
from millrace.money.billing.orders import Recalling, ToHold, ToSettle, ToTend
from millrace.money.grants import store as grants
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.slices.slice import SHARE, STRICT_HOLDS, slice_of

MILLI = NANO // 1_000


@dataclass
class Two:
    """Both are busy with acme and bolt."""

    house: House

    def __post_init__(self) -> None:
        self.a = self.house.another("acme", "bolt")
        self.b = self.house.another("acme", "bolt")

    def hold(self, ours: Ours, number: int, tokens: int, name: str = "acme") -> object:
        order = ToHold(
            request_id=request(number), payer=payer(name), price=self.house.price["tiny"], input_bound=tokens, output_bound=0
        )
        (answer,) = self.house.ask(order, ours=ours)
        return answer

    def settle(self, ours: Ours, number: int, tokens: int) -> None:
        self.house.must(ToSettle(request_id=request(number), outcome=outcome(tokens, 0)), ours=ours)

    def tend(self, ours: Ours, *, everything: bool = False) -> None:
        self.house.must(ToTend(all=everything), ours=ours)

    def free(self, account: str) -> int:
        """Thousandths of a yuan; -1 where there is no such account."""
        found = ledger.account(self.house.tx, account)
        return -1 if found is None else found.available // MILLI

    def slice_of(self, ours: Ours, grant: str = "gr_0001") -> int:
        return self.free(names.lease(ours.epoch, names.grant(grant)))

    def slices(self) -> list[tuple[int, int]]:
        """Epochs and whether they were asked back."""
        return self.house.tx.rows("SELECT epoch, recalled FROM lease ORDER BY account")


@pytest.fixture
def two(house: House) -> Two:
    made = Two(house)
    made.house.give("acme", "8")
    return made


def test_the_size_of_a_slice() -> None:
    """A share of what is free, nothing in strict mode, and nothing that the hold does not fit into."""
    assert slice_of(800, 10, 2) == 800 // (SHARE * 2)
    assert slice_of(STRICT_HOLDS * 10, 10, 2) == 10
    assert slice_of(STRICT_HOLDS * 10 - 1, 10, 1) == 0
    assert slice_of(STRICT_HOLDS * 10, 10, 3) == 0


@pytest.mark.parametrize(("living", "busy"), [(1, {"ten_acme"}), (2, set()), (2, {"ten_bolt"})])
def test_who_is_alone_or_idle_takes_no_slice(two: Two, living: int, busy: set[str]) -> None:
    """Then the hold draws on the grant itself."""
    two.hold(two.a._replace(living=living, busy=frozenset(busy)), 1, 100)
    assert (two.slices(), two.free("grant/gr_0001")) == ([], 7_900)


def test_busy_servers_draw_on_slices_of_their_own(two: Two) -> None:
    """The first takes an eighth, the second an eighth of what is left; Σ slices and the rest are the grant."""
    two.hold(two.a, 1, 100)
    assert (two.slice_of(two.a), two.free("grant/gr_0001")) == (900, 7_000)
    two.hold(two.b, 2, 100)
    assert (two.slice_of(two.b), two.free("grant/gr_0001")) == (775, 6_125)
    two.hold(two.a, 3, 100)
    assert (two.slice_of(two.a), two.free("grant/gr_0001")) == (800, 6_125)
    assert two.house.balance("acme").available == 7_700 * MILLI
    assert two.house.disagreements() == []


def test_a_slice_that_ran_out_is_filled_again(two: Two) -> None:
    """By a share of what is left then; never by more than there is."""
    for number in range(200):
        answer = two.hold((two.a, two.b)[number % 2], number, 90)
        if isinstance(answer, Exception):
            break
        assert min(two.slice_of(two.a), two.free("grant/gr_0001")) >= 0
    held = two.house.balance("acme").held
    assert held > 7 * NANO, "most of the grant went through slices"
    assert two.house.disagreements() == []


def test_little_credit_is_never_sliced(two: Two) -> None:
    """Strict mode: with room for fewer than eight such holds each goes to the grant itself."""
    two.hold(two.a, 1, 1_001)
    assert (two.slices(), two.free("grant/gr_0001")) == ([], 6_999)


def test_what_lies_with_others_is_asked_back_and_then_there(two: Two) -> None:
    """B's hold needs A's slice: B asks again after A has tended; nobody is refused what the tenant has."""
    two.hold(two.a, 1, 100)
    assert isinstance(two.hold(two.b, 2, 7_500), Recalling)
    assert two.slices() == [(two.a.epoch, 1)]
    assert isinstance(two.hold(two.b, 2, 7_500), Recalling)
    two.tend(two.a)
    assert two.slice_of(two.a) == 0
    held = two.hold(two.b, 2, 7_500)
    assert not isinstance(held, Exception), held
    assert two.house.disagreements() == []


def test_402_is_for_who_has_not_enough_in_all_slices_together(two: Two) -> None:
    """One token more than everything is refused at once; also where our own slice is asked back, exactly all is waited for."""
    two.hold(two.a, 1, 100)
    two.hold(two.b, 2, 100)
    for ours in (two.a, two.b):
        refused = two.hold(ours, 3, 7_801)
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.INSUFFICIENT_CREDIT
        assert two.slices() == [(two.a.epoch, 0), (two.b.epoch, 0)], "a hold that cannot be had asks nobody for anything"
    assert isinstance(two.hold(two.b, 3, 7_800), Recalling)
    assert isinstance(two.hold(two.a, 4, 7_800), Recalling), "A's own slice is on its way back"
    for ours in (two.a, two.b):
        two.tend(ours)
    assert not isinstance(two.hold(two.a, 4, 7_800), Exception)
    assert two.house.disagreements() == []


def test_a_slice_asked_back_is_not_drawn_on(two: Two) -> None:
    """Its server goes to the grant itself until it has given the slice back, and takes no new one meanwhile."""
    two.hold(two.a, 1, 100)
    two.hold(two.b, 2, 7_500)
    two.hold(two.a, 3, 10)
    assert (two.slice_of(two.a), two.free("grant/gr_0001")) == (900, 6_990)


def test_a_slice_goes_back_after_a_second_without_use(two: Two) -> None:
    """Not before; what a running hold drew stays until it is settled, and then goes back too."""
    two.hold(two.a, 1, 100)
    two.house.clock.advance(0.9)
    two.hold(two.a, 2, 100)
    two.house.clock.advance(0.9)
    two.tend(two.a)
    assert two.slice_of(two.a) == 800
    two.house.clock.advance(0.2)
    two.tend(two.a)
    assert (two.slice_of(two.a), two.slices(), two.free("grant/gr_0001")) == (0, [(two.a.epoch, 1)], 7_800)
    for number in (1, 2):
        two.settle(two.a, number, 60)
    two.tend(two.a)
    assert (two.slices(), two.free("grant/gr_0001")) == ([], 7_880)
    assert two.house.disagreements() == []


def test_close_gives_all_back(two: Two) -> None:
    """Used a moment ago or not."""
    two.hold(two.a, 1, 100)
    two.settle(two.a, 1, 100)
    two.tend(two.a)
    assert two.slice_of(two.a) == 900
    two.tend(two.a, everything=True)
    assert (two.slices(), two.free("grant/gr_0001")) == ([], 7_900)


def test_a_taker_gives_back_what_the_dead_had(two: Two) -> None:
    """Holds on the dead one's slice are settled on it; then nothing of it is left."""
    two.hold(two.a, 1, 100)
    heir = two.b._replace(taken=frozenset({two.a.epoch}))
    two.tend(two.b)
    assert two.slice_of(two.a) == 900
    two.settle(heir, 1, 40)
    two.tend(heir)
    assert (two.slices(), two.free("grant/gr_0001")) == ([], 7_960)
    assert two.house.disagreements() == []


def test_a_slice_of_a_grant_that_expires_is_not_spent(two: Two) -> None:
    """Not drawn on from that moment on; what comes back of it is taken by the next sweeps, none of it becomes spendable."""
    two.house.give("acme", "4", expires_in_s=60)
    two.hold(two.a, 1, 100)
    assert two.slice_of(two.a, "gr_0002") == 400
    two.house.clock.advance(60)
    two.hold(two.a, 2, 100)
    assert two.slice_of(two.a, "gr_0002") == 400
    assert two.house.expire() == 1
    assert two.house.balance("acme").available == 7_900 * MILLI
    two.tend(two.a)
    assert two.house.expire() == 1
    two.settle(two.a, 1, 30)
    two.tend(two.a)
    assert two.house.balance("acme").available == 7_900 * MILLI
    assert two.house.expire() == 1
    assert two.free("grant/gr_0002") == 0
    assert two.house.disagreements() == []


def test_a_used_up_grant_into_which_a_slice_comes_back_is_live_again(two: Two) -> None:
    """It was off the list of live grants; now it can be spent to the last token."""
    two.hold(two.a, 1, 100)
    two.hold(two.b._replace(busy=frozenset()), 2, 7_000)
    two.settle(two.b, 2, 7_000)
    two.house.do(lambda tx: grants.forget(tx, grants.live(tx, ["ten_acme"], two.house.clock.now())))
    assert grants.live(two.house.tx, ["ten_acme"], two.house.clock.now()) == []
    two.tend(two.a, everything=True)
    assert [one.free for one in grants.live(two.house.tx, ["ten_acme"], two.house.clock.now())] == [900 * MILLI]
    assert not isinstance(two.hold(two.b, 3, 900), Exception)
    assert two.house.disagreements() == []


def test_what_a_postpaid_tenant_may_owe_is_sliced_too(two: Two) -> None:
    """A slice of the credit limit: both servers together never let him owe more."""
    two.hold(two.a, 1, 100, "bolt")
    lease = names.lease(two.a.epoch, names.receivable("ten_bolt", "CNY"))
    assert (two.free(lease), two.free("receivable/ten_bolt/CNY")) == (525, 4_375)
    assert isinstance(two.hold(two.b, 2, 4_901, "bolt"), Refusal)
    assert isinstance(two.hold(two.b, 2, 4_900, "bolt"), Recalling)
    two.settle(two.a, 1, 100)
    two.tend(two.a, everything=True)
    assert not isinstance(two.hold(two.b, 2, 4_900, "bolt"), Exception)
    assert two.house.balance("bolt").available == 0
    assert two.house.disagreements() == []


def test_a_batch_over_several_slices_is_exact(two: Two) -> None:
    """Two hundred holds at once, of which about half fit: exactly the grant is held, to within less than one hold."""
    orders = [
        ToHold(request_id=request(n), payer=payer("acme"), price=two.house.price["tiny"], input_bound=80, output_bound=0)
        for n in range(200)
    ]
    answers = two.house.ask(*orders, ours=two.a)
    assert sum(not isinstance(answer, Exception) for answer in answers) == 100
    assert two.house.balance("acme").held == 8 * NANO
    again = two.house.ask(*(structs.replace(order, request_id=request(500 + n)) for n, order in enumerate(orders)), ours=two.b)
    assert all(isinstance(answer, Refusal) for answer in again)
    assert two.house.disagreements() == []


def test_a_slice_given_back_and_wanted_again_at_once_is_not_lost(two: Two) -> None:
    """The heartbeat and a hold in one batch: whatever is in a slice has a lease that says so."""
    two.hold(two.a, 1, 100)
    two.settle(two.a, 1, 100)
    two.house.clock.advance(1)
    wanted = ToHold(
        request_id=request(2), payer=payer("acme"), price=two.house.price["tiny"], input_bound=100, output_bound=0
    )
    _, held = two.house.ask(ToTend(), wanted, ours=two.a)
    assert not isinstance(held, Exception), held
    two.settle(two.a, 2, 100)
    assert two.slice_of(two.a) == 0 or [epoch for epoch, _ in two.slices()] == [two.a.epoch]
    two.tend(two.a, everything=True)
    assert (two.slice_of(two.a), two.free("grant/gr_0001")) == (0, 7_800)
    assert two.house.balance("acme").available == 7_800 * MILLI
    assert two.house.disagreements() == []
