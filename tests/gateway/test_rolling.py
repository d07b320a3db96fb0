"""Long limits are held step by step: a small balance is not blocked, and nothing is released that is not held for."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.engines.fake import FakeScript
from millrace.gateway.rolling import Rolling

Scene = Callable[..., None]


class Ledger:
    """The one verb of Books that rolling calls; grants steps until `credit` output tokens."""

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.asked: list[int] = []
        self.gate: asyncio.Event | None = None

    async def extend(self, hold: Any, output_bound: int) -> None:
        self.asked.append(output_bound)
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if output_bound > self.credit:
            raise Refusal(Reason.INSUFFICIENT_CREDIT, "no more")
        hold.output_bound = output_bound


class Held:
    def __init__(self, output_bound: int) -> None:
        self.output_bound = output_bound


def roll(ledger: Ledger, held: Held, limit: int) -> Rolling:
    return Rolling(ledger, held, limit, step=10)  # type: ignore[arg-type]  # the one verb and the one field it uses


def test_the_next_step_is_asked_for_before_it_is_needed() -> None:
    """Half a step before the end the extension starts, and output goes on while it is under way."""

    async def scene() -> None:
        ledger, held = Ledger(credit=100), Held(10)
        ledger.gate = asyncio.Event()
        rolling = roll(ledger, held, 40)
        for output in range(1, 11):
            await rolling.cover(output)
            await asyncio.sleep(0)
        assert ledger.asked == [20]
        ledger.gate.set()
        for output in range(11, 41):
            await rolling.cover(output)
            assert output <= held.output_bound
        await rolling.close()
        assert ledger.asked == [20, 30, 40]

    asyncio.run(scene())


def test_a_refused_step_ends_the_answer_only_when_what_is_held_is_used_up() -> None:
    """A refusal shows at the first token that is not held for, not before."""

    async def scene() -> None:
        rolling = roll(Ledger(credit=10), Held(10), 40)
        for output in range(1, 11):
            await rolling.cover(output)
            await asyncio.sleep(0)
        with pytest.raises(Refusal, match="no more"):
            await rolling.cover(11)
        await rolling.close()

    asyncio.run(scene())


def test_a_burst_larger_than_a_step_is_covered_whole() -> None:
    """However many tokens come at once, all of them are held for before they are released."""

    async def scene() -> None:
        held = Held(10)
        rolling = roll(Ledger(credit=100), held, 100)
        await rolling.cover(57)
        assert held.output_bound >= 57
        await rolling.cover(100)
        assert held.output_bound == 100
        await rolling.cover(101)  # more than was ordered: clipped at the settlement, not held for
        await rolling.close()

    asyncio.run(scene())


def test_a_balance_smaller_than_the_limit_is_not_blocked(play: Scene) -> None:
    """A request whose limit is dearer than the balance runs as long as credit lasts, then ends with insufficient_credit."""

    async def scene(world: Any) -> None:
        probe = await world.chat(max_tokens=1)
        price_of_input = (await world.receipt(probe))["tokens"]["input"] * 1000
        world.db.write_now(
            lambda tx: tx.run(
                "UPDATE account SET debits_posted = credits_posted - :left WHERE id = "
                "(SELECT 'grant/' || id FROM credit_grant WHERE tenant_id = :tenant)",
                left=price_of_input + 120 * 4000, tenant=world.owner.id,
            )
        )
        answer = await world.chat(stream=True, max_tokens=400)
        assert answer.frames[-1]["error"]["code"] == "insufficient_credit"
        receipt = await world.receipt(answer)
        assert receipt["tokens"]["output"] == len(answer.pieces) == 100
        assert world.balance().available == 20 * 4000

    play(scene, script=FakeScript(tokens=400), hold_step=50)
