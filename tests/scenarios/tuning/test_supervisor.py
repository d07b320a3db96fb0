"""A job from the queue to its end, and what of it is billed: on both makes of database, with a real process that trains."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.scenarios.tuning.conftest import CREDIT, House, example

from millrace.base.errors import Refusal
from millrace.base.money import divide_half_even
from millrace.catalog.tuned import store as tuned
from millrace.catalog.tuned.values import TunedModel
from millrace.generation.chunk import CountedBy, TokenCounts
from millrace.money.billing.hold import Outcome
from millrace.money.metering import store as metering
from millrace.money.metering.usage import Status as UsageStatus
from millrace.money.metering.usage import Usage
from millrace.store.transaction import Tx
from millrace.tuning.jobs import store
from millrace.tuning.jobs.life import Status
from millrace.tuning.jobs.values import Wish
from millrace.tuning.office import Asked, Office
from millrace.tuning.supervisor import Turn
from millrace.tuning.trainer.fake import Inline
from millrace.tuning.trainer.task import Failed

TOKENS_PER_EPOCH = 12 * (1 + 4 + 1 + 4)
PRICE = 2_345_678_901


def cost(tokens: int) -> int:
    return divide_half_even(tokens * PRICE, 1_000_000)


def test_a_job_that_succeeds(play: Any) -> None:
    """Counted, held, trained, published and billed once, to the nano-unit: tokens × price."""

    async def scene(house: House) -> None:
        job = await house.create(suffix="miller")
        assert job.plan is not None
        assert (job.status, job.plan.tokens, job.plan.amount) == (
            Status.QUEUED, 2 * TOKENS_PER_EPOCH, cost(2 * TOKENS_PER_EPOCH),
        )  # fmt: skip
        async with house.supervisor() as supervisor:
            await supervisor.run(until_empty=True)
        done = house.job(job)
        assert (done.status, done.billed, done.trained, done.step, done.steps) == (Status.SUCCEEDED, 240, 240, 6, 6)
        (usage,) = house.usage(job)
        assert (usage.model, usage.status, usage.tokens.input, usage.amount) == (
            "tune:echo", UsageStatus.COMPLETED, 240, cost(240),
        )  # fmt: skip
        assert house.balance().balance == CREDIT - cost(240)
        (model,) = house.db.read(lambda tx: tuned.of_tenant(tx, house.mill.tenant.id))
        assert model.name == done.tuned_model
        assert model.name.startswith("ft:echo:mill:miller:")
        assert (house.home / "adapters" / f"{model.sha256}.gguf").is_file()
        assert len(house.db.read(lambda tx: store.steps(tx, job.id))) == 6
        assert [one.step for one in house.db.read(lambda tx: store.checkpoints(tx, job.id))] == [6]
        async with house.supervisor() as supervisor:
            assert await supervisor.turn() is Turn.EMPTY
        assert not list((house.home / "tuning").iterdir())

    play(scene)


def test_bad_lines(play: Any) -> None:
    """A file with bad lines makes a job that has failed, with the lines and the reasons; nothing is held."""

    async def scene(house: House) -> None:
        lines = [json.dumps(example("the mill")).encode() for _ in range(12)]
        lines[4] = b'{"messages": []}'
        job = await house.create(b"\n".join(lines))
        assert job.status is Status.FAILED
        assert job.fault is not None
        assert (job.fault.code, job.fault.param) == ("invalid_training_file", "training_file")
        assert "line 5: " in job.fault.sentence
        assert house.usage(job) == []
        assert house.balance().balance == CREDIT

    play(scene)


def test_a_trainer_that_always_breaks_is_given_up(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three tries the job has failed; each try's hold was given back, and nothing is billed."""
    monkeypatch.setenv("MILLRACE_FAKE_FAILS", "exit@2")

    async def scene(house: House) -> None:
        job = await house.create()
        async with house.supervisor() as supervisor:
            for _ in range(3):
                assert await supervisor.turn() is Turn.WORKED
                assert await supervisor.turn() in (Turn.WAITING, Turn.EMPTY)
                house.db.write_now(lambda tx: tx.run("UPDATE tuning_job SET not_before = 0"))
        done = house.job(job)
        assert done.status is Status.FAILED
        assert done.fault is not None
        assert done.fault.code == "trainer_failed"
        assert [(one.tokens.input, one.amount, one.waived) for one in house.usage(job)] == [(0, 0, 0)] * 3
        assert house.balance().balance == CREDIT

    play(scene)


def test_data_that_fails_in_training_is_not_tried_again(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that diverges would do so again: the job has failed at once and costs nothing."""
    monkeypatch.setenv("MILLRACE_FAKE_FAILS", "diverged@2")

    async def scene(house: House) -> None:
        job = await house.create()
        async with house.supervisor() as supervisor:
            await supervisor.run(until_empty=True)
        done = house.job(job)
        assert done.status is Status.FAILED
        assert done.fault is not None
        assert done.fault.code == "training_failed"
        assert [one.amount for one in house.usage(job)] == [0]

    play(scene)


def test_credit_that_is_gone_when_the_job_begins(play: Any) -> None:
    """What others used up meanwhile cannot be held: the job fails before it runs, and nothing is billed."""

    async def scene(house: House) -> None:
        job = await house.create(n_epochs=1)
        house.db.write_now(lambda tx: tx.run("UPDATE api_key SET budget = 0 WHERE id = :id", id=job.key_id))
        async with house.supervisor() as supervisor:
            await supervisor.run(until_empty=True)
        done = house.job(job)
        assert done.fault is not None
        assert (done.status, done.fault.code, done.started_at) == (Status.FAILED, "budget_exceeded", None)
        assert house.usage(job) == []

    play(scene)


def test_a_cancelled_job_costs_nothing(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting, it is over at once; running, as soon as its trainer has ended. No model, no bill, no process left."""
    monkeypatch.setenv("MILLRACE_FAKE_STEP_S", "5")

    async def scene(house: House) -> None:
        waiting, running = await house.create(), await house.create()
        assert (await house.office.cancel(waiting.id)).status is Status.CANCELLED
        async with house.supervisor() as supervisor:
            turn = asyncio.create_task(supervisor.turn())
            while house.job(running).steps == 0:
                await house.clock.sleep(0.05)
            assert (await house.office.cancel(running.id)).status is Status.RUNNING
            await turn
        done = house.job(running)
        assert (done.status, done.billed, done.tuned_model) == (Status.CANCELLED, 0, None)
        assert [(one.status, one.amount) for one in house.usage(running)] == [(UsageStatus.CANCELLED, 0)]
        assert house.balance().balance == CREDIT

    play(scene)


def test_a_stopped_supervisor_lets_another_go_on(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its trainer saves, its hold is given back, the job waits; the next one goes on from there and bills all of it, once."""
    monkeypatch.setenv("MILLRACE_FAKE_STEP_S", "0.2")

    async def scene(house: House) -> None:
        job = await house.create(n_epochs=4)
        async with house.supervisor() as first:
            turn = asyncio.create_task(first.run())
            while house.job(job).step < 3:
                await house.clock.sleep(0.05)
            first.stop()
            await turn
        assert house.job(job).status is Status.QUEUED
        monkeypatch.setenv("MILLRACE_FAKE_STEP_S", "0")
        async with house.supervisor() as second:
            await second.run(until_empty=True)
        assert house.job(job).status is Status.SUCCEEDED
        assert [one.amount for one in house.usage(job)] == [0, cost(4 * TOKENS_PER_EPOCH)]
        assert any("goes on" in message or "Training begins from step" in message for message in house.story(job))

    play(scene)


def test_one_job_is_in_one_hand(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two supervisors one takes it, the other finds nothing to do."""
    monkeypatch.setenv("MILLRACE_FAKE_STEP_S", "0.1")

    async def scene(house: House) -> None:
        job = await house.create()
        async with house.supervisor() as one, house.supervisor() as other:
            turns = await asyncio.gather(one.turn(), other.turn())
        assert sorted(turn.name for turn in turns) == ["WAITING", "WORKED"]
        assert len(house.usage(job)) == 1

    play(scene)


class Lacking(Inline):
    """A trainer on a machine without the extra."""

    @classmethod
    async def spawn(cls, arguments: Sequence[str], first_input: bytes) -> "Lacking":
        assert arguments
        assert first_input
        return cls(Failed(kind="missing", sentence="tuning needs torch"))


def test_files_that_cannot_be_counted_here(play: Any) -> None:
    """The job waits in validating_files and says why; a machine that can counts them, and only then the price is held."""

    async def scene(house: House) -> None:
        here = Office(house.db, house.catalogue, house.workshop._replace(spawn=Lacking.spawn), house.ids)
        asked = Asked(model="echo", training_file=house.upload().id, wish=Wish(n_epochs=2, batch_size=4))
        job = await here.create(house.mill, asked)
        assert (job.status, job.plan) == (Status.VALIDATING, None)
        assert "tuning needs torch" in house.story(job)[0]
        async with house.supervisor() as supervisor:
            await supervisor.run(until_empty=True)
        done = house.job(job)
        assert (done.status, done.billed) == (Status.SUCCEEDED, 240)
        assert [one.amount for one in house.usage(job)] == [cost(240)]

    play(scene)


def test_a_model_that_cannot_be_published_is_given_up(play: Any) -> None:
    """What ends one supervisor after the other is tried three times; then the job has failed, and nothing is billed."""

    async def scene(house: House) -> None:
        job = await house.create()
        other = TunedModel(
            name="ft:echo:mill::0", tenant_id=job.tenant_id, base="echo", job_id=job.id, sha256="0" * 64, created_at=1
        )
        house.db.write_now(lambda tx: tuned.publish(tx, other))
        for _ in range(3):
            with pytest.raises(Refusal, match="published"):
                async with house.supervisor() as supervisor:
                    await supervisor.run(until_empty=True)
        async with house.supervisor() as supervisor:
            await supervisor.run(until_empty=True)
        done = house.job(job)
        assert done.fault is not None
        assert (done.status, done.fault.code, done.tuned_model) == (Status.FAILED, "trainer_failed", None)
        assert house.balance().balance == CREDIT
        assert house.balance().held == 0

    play(scene)


def test_what_goes_with_a_settlement_is_kept_with_it_or_not_at_all(play: Any) -> None:
    """Where the publication of a model is refused, nothing is billed; the next supervisor bills its own hold."""

    async def scene(house: House) -> None:
        job = await house.create()
        async with house.supervisor() as supervisor:
            books = supervisor._books
            await house.db.write(lambda tx: store.claim(tx, job.id, books.epoch))
            hold = await supervisor._hold(job)

            def refuse(_tx: Tx, _usage: Usage) -> None:
                raise LookupError("the model cannot be published")

            outcome = Outcome(status=UsageStatus.COMPLETED, counts=TokenCounts(input=240), counted_by=CountedBy.ENGINE)
            with pytest.raises(LookupError):
                await books.settle(hold, outcome, also=refuse)
            assert house.balance().held == cost(240)
            assert house.db.read(lambda tx: metering.by_request(tx, hold.request_id)) is None
        async with house.supervisor() as heir:
            assert house.balance().held == 0
            await heir.run(until_empty=True)
        assert house.job(job).status is Status.SUCCEEDED
        assert house.balance().balance == CREDIT - cost(240)

    play(scene)
