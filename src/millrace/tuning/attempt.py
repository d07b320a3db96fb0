"""One run of a trainer for a job: its events into the database as they come, its end as a verdict. Bills nothing."""

import asyncio
import contextlib
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

from millrace.base.clock import NS_PER_S
from millrace.base.ids import Ids
from millrace.catalog.model import Model
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tuning.jobs import store
from millrace.tuning.jobs.store import NotOurs
from millrace.tuning.jobs.values import CheckpointRow, Job, StepRow
from millrace.tuning.office import dashed
from millrace.tuning.trainer.task import Checkpoint, Done, Failed, Ready, Step, Stopped, TrainerTask
from millrace.tuning.workshop import STOP_S, Child, Workshop, read_event

LOOK_EVERY_S: Final = 0.5
"""How soon a cancellation is noticed."""

WRITE_EVERY_S: Final = 1.0
"""How far behind the curve is: a trainer may make hundreds of steps in this time, and they are written at once."""

EVENTS_WANTED: Final = 100
"""Steps that are also events, of all."""

_CUSTOMERS: Final = frozenset({"data", "base", "diverged"})
"""Failures that would come again."""


class Cause(Enum):
    """Why a run ended."""

    DONE = auto()
    CANCELLED = auto()
    STOPPED = auto()
    UNFIT = auto()
    """It would fail again: for its files, its base, its hyperparameters."""
    BROKE = auto()
    """It may go well the next time."""
    LOST = auto()
    """The job is somebody else's now."""


class Ended(NamedTuple):
    """What a trainer says when it is done."""

    tokens: int
    adapter: Path


class Verdict(NamedTuple):
    """`well`: it came to a checkpoint. `sentence` is for the customer."""

    cause: Cause
    sentence: str = ""
    ended: Ended | None = None
    well: bool = False


class Attempt:
    """Of a job that is in hand under `epoch`. `stopping` is set when the supervisor is to end."""

    def __init__(
        self, db: Database, workshop: Workshop, ids: Ids, job: Job, epoch: int, stopping: asyncio.Event
    ) -> None:
        self._db = db
        self._workshop = workshop
        self._clock = workshop.clock
        self._ids = ids
        self._job = job
        self._epoch = epoch
        self._stopping = stopping
        self._cause: Cause | None = None
        self._well = False
        self._rows: list[StepRow] = []
        self._steps = 0
        self._said = 0
        self._written_at = self._clock.monotonic()

    async def run(self, model: Model, task: TrainerTask) -> Verdict:
        """Train to the end, or until the customer or the supervisor wants no more. Nothing of the trainer is left then."""
        child = await self._workshop.start(model, task)
        ending = asyncio.create_task(self._end_when_told(child))
        try:
            verdict = await self._follow(child)
        except NotOurs:
            verdict = Verdict(Cause.LOST)
        finally:
            ending.cancel()
            await asyncio.wait({ending})
            await child.stop(STOP_S)
        return verdict

    async def _end_when_told(self, child: Child) -> None:
        while self._cause is None:
            if self._stopping.is_set():
                self._cause = Cause.STOPPED
            elif await self._db.look(lambda tx: store.is_cancelled(tx, self._job.id)):
                self._cause = Cause.CANCELLED
            else:
                with contextlib.suppress(TimeoutError):
                    await self._clock.sleep(LOOK_EVERY_S)
        await child.stop(STOP_S)

    async def _follow(self, child: Child) -> Verdict:
        while line := await child.line():
            event = read_event(line)
            if isinstance(event, Step):
                await self._step(event)
            elif isinstance(event, Checkpoint):
                await self._checkpoint(event)
            elif isinstance(event, Ready):
                await self._ready(event)
            elif isinstance(event, Done):
                await self._write()
                if self._cause is not Cause.CANCELLED:
                    return Verdict(Cause.DONE, ended=Ended(event.tokens, Path(event.adapter)))
            elif isinstance(event, Failed) and self._cause is None:
                await self._write()
                cause = Cause.UNFIT if event.kind in _CUSTOMERS else Cause.BROKE
                return Verdict(cause, event.sentence, well=self._well)
            elif isinstance(event, Stopped):
                break
        await self._write()
        if self._cause is not None:
            return Verdict(self._cause)
        return Verdict(Cause.BROKE, f"the trainer ended without a word: {await child.gone()}", well=self._well)

    async def _ready(self, event: Ready) -> None:
        def work(tx: Tx) -> None:
            now = tx.now(self._clock.now())
            store.progress(
                tx, self._job.id, self._epoch, step=event.step, steps=event.steps, trained=event.tokens, rows=()
            )
            goes_on = f", {event.step} of them done" if event.step else ""
            store.say(tx, self._job.id, now, f"The base is loaded on {event.device}: {event.steps} steps{goes_on}.")

        await self._db.write(work)

    async def _step(self, event: Step) -> None:
        self._rows.append(
            StepRow(step=event.step, tokens=event.tokens, epoch=event.epoch, loss=event.loss, held_out=event.held_out)
        )
        self._steps = event.steps
        if self._clock.monotonic() - self._written_at >= WRITE_EVERY_S * NS_PER_S:
            await self._write()

    async def _write(self) -> None:
        """The steps since the last time."""
        rows, self._rows = self._rows, []
        self._written_at = self._clock.monotonic()
        if not rows:
            return
        steps = self._steps
        last = rows[-1]

        def work(tx: Tx) -> None:
            now = tx.now(self._clock.now())
            store.progress(tx, self._job.id, self._epoch, step=last.step, steps=steps, trained=last.tokens, rows=rows)
            for row in rows:
                if row.held_out is not None or row.step * EVENTS_WANTED // steps > self._said or row.step == steps:
                    self._said = row.step * EVENTS_WANTED // steps
                    store.say(tx, self._job.id, now, _metrics(row, steps), data=_data(row, steps))

        await self._db.write(work)

    async def _checkpoint(self, event: Checkpoint) -> None:
        await self._write()
        self._well = True

        def work(tx: Tx) -> None:
            now = tx.now(self._clock.now())
            row = CheckpointRow(id=dashed(self._ids.new("ftckpt")), step=event.step, tokens=event.tokens, created_at=now)
            store.checkpoint(tx, self._job.id, self._epoch, row)

        await self._db.write(work)


def _metrics(row: StepRow, steps: int) -> str:
    held_out = "" if row.held_out is None else f", held-out loss {row.held_out:.4f}"
    return f"Step {row.step} of {steps}: loss {row.loss:.4f}{held_out}"


def _data(row: StepRow, steps: int) -> dict[str, int | float]:
    data: dict[str, int | float] = {
        "step": row.step, "total_steps": steps, "train_loss": row.loss, "trained_tokens": row.tokens,
    }  # fmt: skip
    return data if row.held_out is None else {**data, "valid_loss": row.held_out}
