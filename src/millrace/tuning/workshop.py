"""Where a job is done: the folders of a home, the trainer's process, and what makes an adapter servable. Made in wiring.py."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.settings.tuning import Tuning
from millrace.tuning.data import EXAMPLES_MIN, check_file, refuse_bad
from millrace.tuning.jobs.values import Job, Wish
from millrace.tuning.trainer.__main__ import NEEDED
from millrace.tuning.trainer.task import Assignment, Counted, Event, Failed, TrainerTask, parse_event, render_assignment

FOLDER: Final = "tuning"
"""Of the home: a folder for each job that is not over, with its checkpoints."""

TRAINER: Final = "millrace.tuning.trainer"
FAKE_TRAINER: Final = "millrace.tuning.trainer.fake"
RAY_TRAINER: Final = "millrace.tuning.ray_task"

ENGINES: Final = frozenset({"embedded", "fake"})
"""Models of these can be tuned: their weights are here, and their engine takes adapters."""

STOP_S: Final = 60.0
"""How long a trainer may take to end its step and save; then it is killed and loses the steps since its last checkpoint."""

THREADS: Final = 2
"""Where the settings say nothing. The same on every machine, since with another number a run makes other last bits."""

COUNT_S: Final = 30.0
"""How long whoever asks for a price waits for the counting of his files; what takes longer is counted before the job runs."""


class Child(Protocol):
    """A trainer that runs. Its standard input stays open as long as we live; at its end it ends."""

    async def line(self) -> bytes:
        """The next line that it says; empty at its end."""
        ...

    async def gone(self) -> str: ...

    async def stop(self, terminate_s: float = ...) -> None:
        """SIGTERM, after that time SIGKILL, and reap. May be called when it has ended."""
        ...


Spawn = Callable[[Sequence[str], bytes], Awaitable[Child]]
"""Starts a program and writes to its standard input."""

Convert = Callable[[Path, Path | None, Path], None]
"""Makes of an adapter's folder, for a base, the file that an engine takes."""


class NotCounted(Exception):
    """The files could not be counted here and now, for no fault of theirs; the sentence says why."""


class Workshop(NamedTuple):
    """What supervisors and the office work with."""

    home: Path
    spawn: Spawn
    convert: Convert
    clock: Clock
    how: Tuning = Tuning()

    def folder(self, job_id: str) -> Path:
        return self.home / FOLDER / job_id

    async def start(self, model: Model, task: TrainerTask, *, count_only: bool = False) -> Child:
        """The trainer of a model, told its task. On a cluster it only trains: whoever asks for a price waits for the count."""
        assignment = Assignment(task=task, parent=os.getpid(), count_only=count_only)
        return await self.spawn([sys.executable, "-m", *self._trainer(model, count_only)], render_assignment(assignment))

    def _trainer(self, model: Model, count_only: bool) -> list[str]:
        if model.engine == "fake":
            return [FAKE_TRAINER]
        return [TRAINER] if self.how.ray is None or count_only else [RAY_TRAINER, self.how.ray]

    def task(self, model: Model, job: Job | None, data: Path, validation: Path | None) -> TrainerTask:
        """What a trainer is told; without a job, to count."""
        plan = None if job is None else job.plan
        wish = Wish() if job is None else job.wish
        multiplier = wish.learning_rate_multiplier
        job_id = "count" if job is None else job.id
        return TrainerTask(
            job_id=job_id, base=model.name if model.path is None else str(model.path), data=str(data),
            folder=str(self.folder(job_id)), validation=None if validation is None else str(validation),
            epochs=1 if plan is None else plan.epochs, batch_size=1 if plan is None else plan.batch_size,
            learning_rate_multiplier=1.0 if multiplier == "auto" else multiplier, seed=wish.seed,
            context_tokens=model.context_tokens, threads=model.threads or THREADS,
            device=self.how.device,
        )  # fmt: skip

    async def counted(self, model: Model, data: Path, validation: Path | None, *, seconds: float = COUNT_S) -> Counted:
        """The tokens of the files. Raises the Refusal that names what is wrong with them by line, or NotCounted."""
        for file, least, param in ((data, EXAMPLES_MIN, "training_file"), (validation, 1, "validation_file")):
            if file is not None:
                _refuse(await asyncio.to_thread(_problems, file, least), param)
        child = await self.start(model, self.task(model, None, data, validation), count_only=True)
        try:
            async with asyncio.timeout(seconds):
                said = read_event(await child.line())
        except TimeoutError:
            raise NotCounted(f"the files take longer than {seconds:g} seconds to be counted") from None
        finally:
            await child.stop()
        if isinstance(said, Counted):
            return said
        if isinstance(said, Failed) and said.kind == "data":
            raise Refusal(Reason.INVALID_REQUEST, said.sentence, param="training_file")
        raise NotCounted(said.sentence if isinstance(said, Failed) else "the trainer ended without a word")


def files_of(task: TrainerTask) -> tuple[Path, Path | None]:
    """The training file and the one that is held out."""
    return Path(task.data), None if task.validation is None else Path(task.validation)


def tunable(model: Model) -> Model:
    """The model itself; raises UNSUPPORTED_PARAMETER where it cannot be tuned."""
    if model.engine not in ENGINES:
        raise Refusal(
            Reason.UNSUPPORTED_PARAMETER,
            f"model: {model.name!r} is served by another server, which has its weights; it cannot be tuned here",
            param="model",
        )
    return model


def missing_for(model: Model, how: Tuning) -> tuple[str, ...]:
    """The packages that training this model needs and that are not installed here."""
    if model.engine == "fake":
        return ()
    needed = NEEDED if how.ray is None else (*NEEDED, "ray")
    return tuple(name for name in needed if find_spec(name) is None)


def remedy(missing: Sequence[str]) -> str:
    """How to get what is missing."""
    return "pip install 'millrace[ray]'" if tuple(missing) == ("ray",) else "pip install 'millrace[tune]'"


def read_event(line: bytes) -> Event | None:
    """What a trainer said; None for a line that its end tore, and at the end."""
    try:
        return parse_event(line)
    except msgspec.DecodeError:
        return None


def _problems(file: Path, least: int) -> Refusal | None:
    try:
        refuse_bad(check_file(file, least))
    except Refusal as refusal:
        return refusal
    return None


def _refuse(problem: Refusal | None, param: str) -> None:
    if problem is not None:
        raise Refusal(problem.reason, problem.sentence.replace("training file", param.replace("_", " ")), param=param)
