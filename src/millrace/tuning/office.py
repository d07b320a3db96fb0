"""What can be asked of tuning, by whoever asks: the API and the command line do the same through this.

A job is made once its files are counted and its price is known, so that whoever cannot pay is told at once. Files that are
wrong make a job that has failed, with the line and the reason; files that cannot be counted here (the extra is missing, or it
takes too long) make one that waits in `validating_files` for a supervisor that can.
"""

import asyncio
from typing import Final, NamedTuple

from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.money import render_amount
from millrace.catalog.catalogue import Catalogue, unknown
from millrace.catalog.model import Model
from millrace.generation.chunk import TokenCounts
from millrace.money.grants import store as grants
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import rate, upper_bound
from millrace.money.rating.store import price_at
from millrace.store.database import Database
from millrace.store.transaction import Conflict, Tx
from millrace.tenants.values import Caller
from millrace.tuning.files import store as files
from millrace.tuning.files.shelf import Shelf
from millrace.tuning.files.values import StoredFile
from millrace.tuning.jobs import store
from millrace.tuning.jobs.life import Status
from millrace.tuning.jobs.values import Fault, Job, NewJob, Plan, Wish, sold_as
from millrace.tuning.schedule import settle
from millrace.tuning.trainer.task import Counted
from millrace.tuning.workshop import NotCounted, Workshop, tunable

JOBS_MAX: Final = 20
"""Jobs of one tenant that are not over: a queue that somebody can still look over."""

INVALID_FILE: Final = "invalid_training_file"


class Asked(Struct, frozen=True, kw_only=True):
    """A job as a customer asks for it."""

    model: str
    training_file: str
    validation_file: str | None = None
    wish: Wish


class Claimed(NamedTuple):
    """Digests of an Idempotency-Key and of what came with it."""

    key: str
    body: str


class Estimate(NamedTuple):
    """What a job would come to, and by which price."""

    plan: Plan
    price: PriceVersion


Outlook = Estimate | Fault | NotCounted
"""What is known of a job before it is made."""


class Ready(NamedTuple):
    """What is asked for, looked up."""

    model: Model
    price: PriceVersion
    training: StoredFile
    validation: StoredFile | None


class Office:
    """For one event loop."""

    def __init__(self, db: Database, catalogue: Catalogue, workshop: Workshop, ids: Ids) -> None:
        self.shelf = Shelf(workshop.home)
        self._db = db
        self._catalogue = catalogue
        self._workshop = workshop
        self._clock: Clock = workshop.clock
        self._ids = ids
        self._counting = asyncio.Semaphore(1)

    async def estimate(self, caller: Caller, asked: Asked) -> Estimate:
        """Tokens and price; nothing is made. Raises what is wrong with the files, or ENGINE_UNAVAILABLE."""
        ready = await self._db.look(lambda tx: self._ready(tx, caller, asked))
        try:
            return await self._count(ready, asked.wish)
        except NotCounted as error:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, f"there is no estimate now: {error}", retry_after_s=60) from None

    async def create(self, caller: Caller, asked: Asked, claimed: Claimed | None = None) -> Job:
        """A job that waits for its turn, or that failed for its files' fault. With `claimed`: the same again is the same job.

        Raises INSUFFICIENT_CREDIT where the tenant cannot pay for all of it; then there is no job.
        """
        if claimed is not None:
            before = await self._db.look(lambda tx: self._claimed(tx, claimed))
            if before is not None:
                return before
        ready = await self._db.look(lambda tx: self._ready(tx, caller, asked))
        estimate: Outlook
        try:
            estimate = await self._count(ready, asked.wish)
        except NotCounted as error:
            estimate = error
        except Refusal as refusal:
            estimate = Fault(code=INVALID_FILE, sentence=refusal.sentence, param=refusal.param)
        job = NewJob(
            id=dashed(self._ids.new("ftjob")), tenant_id=caller.tenant.id, project_id=caller.project.id, key_id=caller.key.id,
            model=asked.model, price_id=ready.price.id, training_file=asked.training_file,
            validation_file=asked.validation_file, wish=asked.wish, created_at=self._clock.now(),
            claim_key=None if claimed is None else claimed.key, claim_body=None if claimed is None else claimed.body,
        )  # fmt: skip
        try:
            return await self._db.write(lambda tx: self._add(tx, caller, asked, job, estimate, claimed))
        except Conflict:  # somebody was faster with the same key
            assert claimed is not None, "only an Idempotency-Key can be there twice"
            return await self._db.write(lambda tx: self._add(tx, caller, asked, job, estimate, claimed))

    async def cancel(self, job_id: str, tenant_id: str | None = None) -> Job:
        """Ask for a job's end. Raises NOT_FOUND, and CONFLICT where it is over another way."""

        def work(tx: Tx) -> Job:
            found = store.find(tx, job_id, tenant_id)
            if found.over and found.status is not Status.CANCELLED:
                raise Refusal(Reason.CONFLICT, f"job {found.id} is over: {found.status}; there is nothing to cancel")
            return store.cancel(tx, found, tx.now(self._clock.now()))

        return await self._db.write(work)

    def _ready(self, tx: Tx, caller: Caller, asked: Asked) -> Ready:
        found = self._catalogue.get(asked.model)
        if found is None:
            raise unknown(asked.model, [model.name for model in self._catalogue.visible(caller.key.models)])
        caller.require_model(asked.model)
        model = tunable(found)
        training = files.find(tx, caller.tenant.id, asked.training_file, param="training_file")
        validation = None
        if asked.validation_file is not None:
            validation = files.find(tx, caller.tenant.id, asked.validation_file, param="validation_file")
        price = price_at(tx, sold_as(asked.model), caller.tenant.currency, tx.now(self._clock.now()))
        if price is None:
            raise Refusal(
                Reason.MODEL_NOT_FOUND,
                f"model: {asked.model!r} cannot be tuned yet: {sold_as(asked.model)} has no price in {caller.tenant.currency}; "
                "the operator adds one with [[prices]] in millrace.toml or 'millrace price import FILE'",
                param="model",
            )
        return Ready(model, price, training, validation)

    async def _count(self, ready: Ready, wish: Wish) -> Estimate:
        validation = None if ready.validation is None else self.shelf.path(ready.validation.sha256)
        async with self._counting:
            counted = await self._workshop.counted(ready.model, self.shelf.path(ready.training.sha256), validation)
        return Estimate(plan(counted, wish, ready.price), ready.price)

    def _claimed(self, tx: Tx, claimed: Claimed) -> Job | None:
        found = store.by_claim(tx, claimed.key)
        if found is not None and found.claim_body != claimed.body:
            raise Refusal(
                Reason.IDEMPOTENCY_CONFLICT,
                f"Idempotency-Key: this key made job {found.id} with another body; use a new key for a new job",
                param="Idempotency-Key",
            )
        return found

    def _add(
        self, tx: Tx, caller: Caller, asked: Asked, job: NewJob, estimate: Outlook, claimed: Claimed | None
    ) -> Job:
        before = None if claimed is None else self._claimed(tx, claimed)
        if before is not None:
            return before
        now = tx.now(self._clock.now())
        self._ready(tx, caller, asked)  # the files may have been deleted meanwhile
        if len([one for one in store.open_jobs(tx) if one.tenant_id == job.tenant_id]) >= JOBS_MAX:
            raise Refusal(
                Reason.RATE_LIMIT_EXCEEDED, f"{JOBS_MAX} jobs of yours are not over yet; wait for one, or cancel one",
                retry_after_s=60, limit="fine_tuning_jobs",
            )  # fmt: skip
        if isinstance(estimate, Fault):
            return store.add_failed(tx, job, estimate)
        if isinstance(estimate, NotCounted):
            made = store.add(tx, job, None)
            store.say(tx, job.id, now, f"The files will be counted before the job runs: {estimate}", level="warn")
            return made
        _refuse_poor(tx, caller, upper_bound(estimate.plan.tokens, 0, estimate.price), now)
        made = store.add(tx, job, estimate.plan)
        store.say(tx, job.id, now, describe(estimate.plan, caller.tenant.currency))
        return made


def plan(counted: Counted, wish: Wish, price: PriceVersion) -> Plan:
    """What a job comes to. Pure."""
    schedule = settle(counted.examples, wish.n_epochs, wish.batch_size, wish.learning_rate_multiplier)
    return Plan(
        examples=counted.examples, tokens_per_epoch=counted.tokens_per_epoch, epochs=schedule.epochs,
        batch_size=schedule.batch_size,
        amount=rate(TokenCounts(input=counted.tokens_per_epoch * schedule.epochs), price).amount,
    )  # fmt: skip


def describe(one: Plan, currency: str) -> str:
    """The sentence of an estimate."""
    return (
        f"{one.examples} examples with {one.tokens_per_epoch} tokens, {one.epochs} epochs: {one.tokens} tokens are trained, "
        f"for {render_amount(one.amount)} {currency}."
    )


def dashed(identifier: str) -> str:
    """'ftjob_01k8…' → 'ftjob-01k8…', as clients of this API know such ids."""
    return identifier.replace("_", "-", 1)


def _refuse_poor(tx: Tx, caller: Caller, amount: int, now: int) -> None:
    """What is available may be used by others until the job begins; then it is held, or the job fails and costs nothing."""
    available = grants.balance(tx, caller.tenant.id, caller.tenant.currency, now).available
    if amount > available:
        raise Refusal(
            Reason.INSUFFICIENT_CREDIT,
            f"this job comes to {render_amount(amount)} {caller.tenant.currency}, and {render_amount(available)} is available; "
            "add credit, or train fewer examples or epochs",
        )
