"""The books against an oracle of dictionaries: any sequence of grants, requests, crashes, months and clocks.

After each step the auditor must be silent, and balances, budgets and receipts must be the oracle's, which knows no
accounts: it keeps what is left of each grant and who holds how much of it.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.money.house import BUDGET, CREDIT_LIMIT, House, request

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO, render_amount
from millrace.base.times import month_of
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.billing.succession import of_the_dead
from millrace.money.grants.grant import PRIORITY, Funding
from millrace.money.metering.journal import NOTHING_RECORDED, Watermark
from millrace.money.metering.usage import Usage

MILLI = NANO // 1_000
NEVER = 2**63 - 1


@dataclass
class Pot:
    """A grant, or what a postpaid tenant may owe: nano-units left, without what is held."""

    owner: str
    order: tuple[int, int, str]
    left: int
    held: int = 0

    @property
    def expires_at(self) -> int:
        return self.order[1]


@dataclass
class Running:
    owner: str
    input: int
    output: int
    budget: bool
    month: str
    parts: list[tuple[Pot, int]] = field(default_factory=list)
    recorded: Watermark = NOTHING_RECORDED

    @property
    def amount(self) -> int:
        return sum(amount for _, amount in self.parts)


def cost(input_: int, output: int) -> int:
    return MILLI * (input_ + 2 * output)


class Machine(RuleBasedStateMachine):
    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.pots = [Pot("bolt", (99, NEVER, "credit"), CREDIT_LIMIT)]
        self.running: dict[int, Running] = {}
        self.receipts: dict[int, Usage] = {}
        self.spent: dict[str, int] = {}
        self.number = 0

    @rule(
        owner=st.sampled_from(["acme", "bolt"]), amount=st.integers(1, 3_000), funding=st.sampled_from(Funding),
        days=st.none() | st.integers(1, 20),
    )  # fmt: skip
    def give(self, owner: str, amount: int, funding: Funding, days: int | None) -> None:
        grant = self.house.give(
            owner, render_amount(amount * MILLI), funding=funding, expires_in_s=None if days is None else days * 86_400
        )
        self.pots.append(Pot(owner, (PRIORITY[funding], grant.expires_at or NEVER, grant.id), amount * MILLI))

    @rule(
        target=holds, owner=st.sampled_from(["acme", "bolt"]), input_=st.integers(0, 1_500), output=st.integers(0, 500),
        budget=st.booleans(),
    )  # fmt: skip
    def hold(self, owner: str, input_: int, output: int, budget: bool) -> int:
        self.number += 1
        new = Running(owner, input_, output, budget, month_of(self.house.clock.now()).name)
        expected = self._refusal(new, cost(input_, output))
        if expected is None:
            self.house.hold(self.number, owner, input_, output, budget=budget)
            self._reserve(new, cost(input_, output))
            self.running[self.number] = new
        else:
            with pytest.raises(Refusal) as refused:
                self.house.hold(self.number, owner, input_, output, budget=budget)
            assert refused.value.reason is expected
        return self.number

    @rule(number=holds, more=st.integers(-50, 600))
    def extend(self, number: int, more: int) -> None:
        hold = self.running.get(number)
        if hold is None:
            with pytest.raises(Refusal):
                self.house.extend(number, "acme", 10)
            return
        output = max(hold.output, hold.output + more)
        amount = cost(hold.input, output) - cost(hold.input, hold.output)
        expected = self._refusal(hold, amount) if amount else None
        if expected is None:
            self.house.extend(number, hold.owner, hold.output + more, budget=hold.budget)
            self._reserve(hold, amount)
            hold.output = output
        else:
            with pytest.raises(Refusal) as refused:
                self.house.extend(number, hold.owner, output, budget=hold.budget)
            assert refused.value.reason is expected

    @rule(number=holds, output=st.integers(1, 700), confirmed=st.integers(0, 700))
    def progress(self, number: int, output: int, confirmed: int) -> None:
        if number in self.running:
            hold = self.running[number]
            hold.recorded = Watermark(TokenCounts(hold.input, 0, output, 0), confirmed, 0, CountedBy.ENGINE)

    @rule(number=holds | consumes(holds), input_=st.integers(0, 1_600), output=st.integers(0, 700))
    def settle(self, number: int, input_: int, output: int) -> None:
        if number in self.receipts:
            assert self.house.settle(number, input_, output) == self.receipts[number]
        elif number in self.running:
            self._resolved(number, self.house.settle(number, input_, output), input_, output, 0)

    @rule(number=consumes(holds))
    def void(self, number: int) -> None:
        if number in self.running:
            self._resolved(number, self.house.settle(number, 0, 0), 0, 0, 0)

    @rule(number=holds)
    def hold_again(self, number: int) -> None:
        if number in self.running:
            hold = self.running[number]
            if hold.month == month_of(self.house.clock.now()).name:
                assert self.house.hold(number, hold.owner, hold.input, 0, budget=hold.budget).amount == hold.amount
        elif number in self.receipts:
            with pytest.raises(Refusal):
                self.house.hold(number, "acme", 0, 0)

    @rule(before_it_dies_too=st.integers(0, 3))
    def crash(self, before_it_dies_too: int) -> None:
        """The process dies; the next one resolves so many holds before it dies as well, and the one after it the rest.
        """
        for limit in (before_it_dies_too, len(self.running)):
            self.house.reborn()
            dead = sorted(self.running)[:limit]
            rows = self.house.ask(*(of_the_dead(request(number), self.running[number].recorded) for number in dead))
            for number, usage in zip(dead, rows, strict=True):
                mark = self.running[number].recorded
                self._resolved(number, usage, mark.billable.input, mark.billable.output, mark.waived)
        assert self.running == {}

    @rule()
    def expire(self) -> None:
        now = self.house.clock.now()
        over = [pot for pot in self.pots if pot.expires_at <= now and pot.left]
        assert self.house.expire() == len(over)
        for pot in over:
            pot.left = 0

    @rule(days=st.sampled_from([0, 1, 5, 9, -1]))
    def time_goes_by(self, days: int) -> None:
        self.house.clock.advance(days * 86_400)

    @invariant()
    def the_auditor_is_silent(self) -> None:
        assert self.house.disagreements() == []

    @invariant()
    def the_oracle_agrees(self) -> None:
        now = self.house.clock.now()
        for owner in ("acme", "bolt", "mole"):
            pots = [pot for pot in self.pots if pot.owner == owner]
            found = self.house.balance(owner)
            assert found.held == sum(pot.held for pot in pots)
            assert found.available == sum(pot.left for pot in pots if pot.expires_at > now)
            month = month_of(now).name
            held = self._held(owner, month)
            spent = self.spent.get(f"{owner} {month}", 0)
            assert self.house.budget_of(f"key_{owner}_small", month) == (spent, held)
            assert spent + held <= BUDGET

    def _refusal(self, hold: Running, amount: int) -> Reason | None:
        now = self.house.clock.now()
        if sum(pot.left for pot in self._pots(hold.owner, now)) < amount:
            return Reason.INSUFFICIENT_CREDIT
        used = self.spent.get(f"{hold.owner} {hold.month}", 0) + self._held(hold.owner, hold.month)
        return Reason.BUDGET_EXCEEDED if hold.budget and used + amount > BUDGET else None

    def _held(self, owner: str, month: str) -> int:
        """By running requests of the key that has a budget."""
        return sum(one.amount for one in self.running.values() if one.budget and (one.owner, one.month) == (owner, month))

    def _pots(self, owner: str, now: int) -> list[Pot]:
        return sorted((p for p in self.pots if p.owner == owner and p.expires_at > now and p.left), key=lambda p: p.order)

    def _reserve(self, hold: Running, amount: int) -> None:
        for pot in self._pots(hold.owner, self.house.clock.now()):
            part = min(pot.left, amount)
            if part:
                pot.left -= part
                pot.held += part
                amount -= part
                hold.parts.append((pot, part))
        assert amount == 0

    def _resolved(self, number: int, usage: Usage, input_: int, output: int, waived: int) -> None:
        hold = self.running.pop(number)
        self.receipts[number] = usage
        billed = min(input_, hold.input), min(output, hold.output)
        assert (usage.tokens.input, usage.tokens.output, usage.amount) == (*billed, cost(*billed))
        assert usage.waived == waived + input_ + output - sum(billed)
        left = usage.amount
        for pot, part in hold.parts:
            used = min(part, left)
            left -= used
            pot.held -= part
            pot.left += part - used
        assert left == 0
        if hold.budget:
            key = f"{hold.owner} {hold.month}"
            self.spent[key] = self.spent.get(key, 0) + usage.amount


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
