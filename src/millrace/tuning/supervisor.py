"""Takes jobs one after the other, from the queue to their end: holds, trains, delivers, settles. See docs/decisions/0009.

Theory of operation. A supervisor is a server of the books with an epoch of its own, and a job is in its hand as long as the
job's row names that epoch. Where it dies, whoever takes its epoch over voids what it held; once that is done the epoch is
over, and the next supervisor takes the job and goes on from its newest checkpoint. So nobody has to be believed dead twice:
what fences the books fences the jobs.

Nothing is delivered before the adapter is there. Then one transaction makes the usage row, posts the hold, publishes the
model and ends the job: whoever has the model has paid for it once, and whoever has not has paid nothing.
"""

import asyncio
import contextlib
import logging
import shutil
import time
from enum import Enum, auto
from typing import Final

from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.times import day_of
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.catalog.tuned import store as tuned
from millrace.catalog.tuned.files import AdapterFiles
from millrace.catalog.tuned.values import TunedModel, tuned_name
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.handle import Hold
from millrace.money.billing.hold import Outcome, Payer
from millrace.money.billing.life import Fenced
from millrace.money.billing.orders import Also
from millrace.money.metering import store as metering
from millrace.money.metering.usage import Status as UsageStatus
from millrace.money.metering.usage import Usage
from millrace.money.rating.store import price_by_id
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants
from millrace.tuning.attempt import Attempt, Cause, Ended, Verdict
from millrace.tuning.files import store as files
from millrace.tuning.files.shelf import Shelf
from millrace.tuning.jobs import store
from millrace.tuning.jobs.life import Status
from millrace.tuning.jobs.store import NotOurs
from millrace.tuning.jobs.values import Fault, Job
from millrace.tuning.office import INVALID_FILE, describe, plan
from millrace.tuning.trainer.task import TrainerTask
from millrace.tuning.workshop import NotCounted, Workshop, files_of, missing_for, remedy

_log = logging.getLogger("millrace.tuning")

LOOK_EVERY_S: Final = 1.0
"""How soon a job that waits is noticed."""

FAILURES_MAX: Final = 3
"""So often in a row a trainer may break down without reaching a checkpoint; then it would the fourth time, too."""

BACKOFF_S: Final = 5
"""Before the second try; before the third twice as long."""

CREDIT_WAIT_S: Final = 60
"""A job that has begun waits for its credit to come back rather than to lose what was trained."""

COUNT_WAIT_S: Final = 3600.0
"""A file of half a gigabyte, in a process of its own, for which nobody waits."""

_ENDED_US: Final = "finishing it failed each time; the operator's log says why"

_POOR: Final = frozenset({Reason.INSUFFICIENT_CREDIT, Reason.BUDGET_EXCEEDED})


class Turn(Enum):
    """What a look at the queue came to."""

    WORKED = auto()
    WAITING = auto()
    """There are jobs, and none that can be taken now."""
    EMPTY = auto()


class Supervisor:
    """One of any number, each with `books` of its own, that are open. `stop` ends it in good order."""

    def __init__(self, db: Database, books: Books, catalogue: Catalogue, workshop: Workshop, ids: Ids) -> None:
        self._db = db
        self._books = books
        self._catalogue = catalogue
        self._workshop = workshop
        self._clock = workshop.clock
        self._ids = ids
        self._shelf = Shelf(workshop.home)
        self._adapters = AdapterFiles(workshop.home)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let the trainer save, put the job back into the queue, return."""
        self._stopping.set()

    async def run(self, *, until_empty: bool = False) -> None:
        """Work until stopped; or, `until_empty`, until no job waits any more."""
        while not self._stopping.is_set():
            turn = await self.turn()
            if turn is Turn.EMPTY and until_empty:
                return
            if turn is not Turn.WORKED:
                await self._clock.sleep(LOOK_EVERY_S)

    async def turn(self) -> Turn:
        """Take the oldest job that can be taken and do it, as far as it goes."""
        waiting = await self._db.look(store.open_jobs)
        await asyncio.to_thread(self._tidy, frozenset(job.id for job in waiting))
        for job in waiting:
            if job.not_before > self._clock.now() or not await self._can(job):
                continue
            epoch = self._books.epoch
            if await self._db.write(lambda tx, job=job, epoch=epoch: store.claim(tx, job.id, epoch)):  # type: ignore[misc]
                await self._do(job.id, epoch)
                return Turn.WORKED
        return Turn.WAITING if waiting else Turn.EMPTY

    async def _can(self, job: Job) -> bool:
        """Whether this machine can; where it cannot, the job says so, once."""
        model = self._model(job)
        missing = () if model is None else missing_for(model, self._workshop.how)
        if model is not None and not missing:
            return True
        why = (
            f"The job waits: model {job.model} is not in the settings of the machine that tunes."
            if model is None
            else f"The job waits for a machine that can tune; here is no {', '.join(missing)}: {remedy(missing)}."
        )
        await self._db.write(lambda tx: store.say_once(tx, job.id, tx.now(self._clock.now()), why, level="warn"))
        return False

    def _model(self, job: Job) -> Model | None:
        return next((model for model in self._catalogue.models if model.name == job.model), None)

    async def _do(self, job_id: str, epoch: int) -> None:
        """A job that is in hand, until it is over or out of hand."""
        try:
            job = await self._db.look(lambda tx: store.by_id(tx, job_id))
            if job.cancel_at is not None:
                await self._end(job, epoch, Status.CANCELLED)
                return
            if job.failures >= FAILURES_MAX:
                await self._end(job, epoch, Status.FAILED, Fault(code="trainer_failed", sentence=_ENDED_US))
                return
            if job.plan is None:
                job = await self._count(job, epoch)
            if job.status is Status.QUEUED:
                await self._attempt(job, epoch)
        except (NotOurs, Fenced) as error:
            _log.warning("job %s is in other hands now: %s", job_id, error)
        except Refusal as refusal:
            if refusal.reason is not Reason.STORE_UNAVAILABLE:
                await self._count_failure(job_id, epoch)
                raise
            _log.warning("job %s goes on later: %s", job_id, refusal.sentence)
            with contextlib.suppress(NotOurs, Refusal):
                await self._put_back(job_id, epoch, 0, seconds=BACKOFF_S)

        except Exception:
            await self._count_failure(job_id, epoch)
            raise

    async def _count_failure(self, job_id: str, epoch: int) -> None:
        """What ends this supervisor would end the next one too. Its hold is voided by whoever takes its epoch over."""
        with contextlib.suppress(NotOurs):
            await self._db.write(lambda tx: store.count_failure(tx, job_id, epoch))

    async def _count(self, job: Job, epoch: int) -> Job:
        """Its files were not counted when it was made."""
        model = self._model(job)
        assert model is not None
        task = await self._task(job, model)
        try:
            counted = await self._workshop.counted(model, *files_of(task), seconds=COUNT_WAIT_S)
        except Refusal as refusal:
            await self._end(job, epoch, Status.FAILED, Fault(code=INVALID_FILE, sentence=refusal.sentence, param=refusal.param))
            return await self._db.look(lambda tx: store.by_id(tx, job.id))
        except NotCounted as error:
            await self._broke(job, epoch, None, str(error))
            return await self._db.look(lambda tx: store.by_id(tx, job.id))

        def work(tx: Tx) -> Job:
            price = price_by_id(tx, job.price_id)
            made = plan(counted, job.wish, price)
            store.set_plan(tx, job.id, epoch, made)
            store.say(tx, job.id, tx.now(self._clock.now()), describe(made, price.currency))
            return store.by_id(tx, job.id)

        return await self._db.write(work)

    async def _attempt(self, job: Job, epoch: int) -> None:
        """Hold all of it, train what is left of it, and deliver."""
        model = self._model(job)
        assert model is not None
        assert job.plan is not None
        try:
            hold = await self._hold(job)
        except Refusal as refusal:
            if refusal.reason not in _POOR:
                raise
            await self._poor(job, epoch, refusal)
            return
        task = await self._task(job, model)
        await self._db.write(lambda tx: self._begin(tx, job, epoch, hold))
        attempt = Attempt(self._db, self._workshop, self._ids, job, epoch, self._stopping)
        verdict = await attempt.run(model, task)
        await self._judge(job, epoch, hold, model, verdict)

    async def _hold(self, job: Job) -> Hold:
        assert job.plan is not None
        price, key = await self._db.look(lambda tx: (price_by_id(tx, job.price_id), tenants.key_with_id(tx, job.key_id)))
        payer = Payer(
            tenant_id=job.tenant_id, project_id=job.project_id, key_id=job.key_id, currency=price.currency, budget=key.budget
        )
        return await self._books.hold(self._ids.new("req"), payer, price, job.plan.tokens, 0)

    def _begin(self, tx: Tx, job: Job, epoch: int, hold: Hold) -> None:
        now = tx.now(self._clock.now())
        store.begin(tx, job.id, epoch, hold.request_id, now)
        goes_on = f" from step {job.step}" if job.step else ""
        store.say(tx, job.id, now, f"Training begins{goes_on}; {hold.request_id} holds its whole price.")

    async def _judge(self, job: Job, epoch: int, hold: Hold, model: Model, verdict: Verdict) -> None:
        """What becomes of a job whose trainer has ended."""
        if verdict.cause is Cause.CANCELLED:
            await self._end(job, epoch, Status.CANCELLED, hold=hold)
        elif verdict.cause is Cause.STOPPED:
            await self._put_back(job.id, epoch, job.failures, hold=hold)
        elif verdict.cause is Cause.UNFIT:
            fault = Fault(code="training_failed", sentence=verdict.sentence)
            await self._end(job, epoch, Status.FAILED, fault, hold=hold)
        elif verdict.cause is Cause.BROKE:
            await self._broke(job, epoch, hold, verdict.sentence, well=verdict.well)
        elif verdict.cause is Cause.LOST:
            _log.warning("job %s is in other hands now", job.id)
        else:
            await self._deliver(job, epoch, hold, model, verdict.ended)

    async def _deliver(self, job: Job, epoch: int, hold: Hold, model: Model, ended: Ended | None) -> None:
        """The adapter into its place, then model, bill and end of the job at once."""
        assert job.plan is not None
        assert ended is not None
        if ended.tokens != job.plan.tokens:
            await self._broke(job, epoch, hold, f"the trainer says {ended.tokens} tokens, and {job.plan.tokens} were counted")
            return
        try:
            sha256 = await asyncio.to_thread(self._convert, job, model, ended)
        except (Refusal, OSError, ValueError) as error:
            _log.exception("the adapter of job %s cannot be converted", job.id)
            await self._broke(job, epoch, hold, f"the adapter could not be made servable: {error}")
            return
        tokens = job.plan.tokens

        def also(tx: Tx, usage: Usage) -> None:
            now = tx.now(self._clock.now())
            tenant = tenants.tenant_with_id(tx, job.tenant_id)
            name = tuned_name(job.model, tenant.name, job.id, job.wish.suffix)
            metering.count_made(tx, epoch, [(usage.model, day_of(now), 1, tokens, 0)])
            tuned.publish(
                tx,
                TunedModel(
                    name=name, tenant_id=job.tenant_id, base=job.model, job_id=job.id, sha256=sha256, created_at=now
                ),
            )
            store.finish(
                tx, job.id, epoch, Status.SUCCEEDED, now, tuned_model=name, billed=usage.tokens.input, trained=tokens
            )
            store.say(tx, job.id, now, f"The model {name} is ready; {usage.request_id} is the receipt of {tokens} tokens.")

        await self._settle(hold, UsageStatus.COMPLETED, TokenCounts(input=tokens), also)

    def _convert(self, job: Job, model: Model, ended: Ended) -> str:
        to = self._workshop.folder(job.id) / "adapter.gguf"
        self._workshop.convert(ended.adapter, model.path, to)
        return self._adapters.add(to)

    async def _broke(self, job: Job, epoch: int, hold: Hold | None, sentence: str, *, well: bool = False) -> None:
        """Not the customer's fault: tried again after a while, given up after FAILURES_MAX times. Nothing is billed."""
        failures = (0 if well else job.failures) + 1
        _log.error("the trainer of job %s failed (%d of %d): %s", job.id, failures, FAILURES_MAX, sentence)
        if failures >= FAILURES_MAX:
            await self._end(job, epoch, Status.FAILED, Fault(code="trainer_failed", sentence=sentence), hold=hold)
            return
        seconds = BACKOFF_S * 2 ** (failures - 1)
        why = f"The trainer failed and goes on in {seconds} seconds: {sentence}"
        await self._put_back(job.id, epoch, failures, hold=hold, seconds=seconds, why=why)

    async def _poor(self, job: Job, epoch: int, refusal: Refusal) -> None:
        if job.started_at is None:
            fault = Fault(code=refusal.reason.value, sentence=refusal.sentence)
            await self._end(job, epoch, Status.FAILED, fault)
            return
        why = f"The job waits for credit and goes on from its last checkpoint, unless it is cancelled: {refusal.sentence}"
        await self._put_back(job.id, epoch, job.failures, seconds=CREDIT_WAIT_S, why=why)

    async def _end(
        self, job: Job, epoch: int, status: Status, fault: Fault | None = None, *, hold: Hold | None = None
    ) -> None:
        """Without a model, and so without a bill."""

        def end(tx: Tx) -> None:
            now = tx.now(self._clock.now())
            store.finish(tx, job.id, epoch, status, now, fault=fault)
            if fault is None:
                store.say(tx, job.id, now, "The job was cancelled; nothing was delivered and nothing billed.")
            else:
                store.say(tx, job.id, now, f"The job failed; nothing was billed: {fault.sentence}", level="error")

        if hold is None:
            await self._db.write(end)
            return
        how = UsageStatus.CANCELLED if status is Status.CANCELLED else UsageStatus.FAILED
        await self._settle(hold, how, NO_TOKENS, lambda tx, _: end(tx))

    async def _put_back(
        self, job_id: str, epoch: int, failures: int, *, hold: Hold | None = None, seconds: int = 0, why: str = ""
    ) -> None:
        """Into the queue, for this supervisor or another; what was held is given back."""

        def back(tx: Tx) -> None:
            now = tx.now(self._clock.now())
            store.let_go(tx, job_id, epoch, not_before=now + seconds * NS_PER_S, failures=failures)
            if why:
                store.say_once(tx, job_id, now, why, level="warn")

        if hold is None:
            await self._db.write(back)
        else:
            await self._settle(hold, UsageStatus.FAILED, NO_TOKENS, lambda tx, _: back(tx))

    async def _settle(self, hold: Hold, status: UsageStatus, counts: TokenCounts, also: Also) -> None:
        outcome = Outcome(status=status, counts=counts, counted_by=CountedBy.ENGINE)
        await self._books.settle(hold, outcome, also=also)

    async def _task(self, job: Job, model: Model) -> TrainerTask:
        def look(tx: Tx) -> tuple[str, str | None]:
            held_out = None if job.validation_file is None else files.of_job(tx, job.validation_file).sha256
            return files.of_job(tx, job.training_file).sha256, held_out

        training, validation = await self._db.look(look)
        return self._workshop.task(
            model, job, self._shelf.path(training), None if validation is None else self._shelf.path(validation)
        )

    def _tidy(self, waiting: frozenset[str]) -> None:
        """The folders of jobs that are over, files that nobody has, adapters that no model needs."""
        for folder in self._workshop.folder("x").parent.glob("ftjob-*"):
            if folder.name not in waiting:
                shutil.rmtree(folder, ignore_errors=True)
        self._shelf.sweep(self._db.read(files.contents_in_use), time.time())
