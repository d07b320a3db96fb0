"""Tuning jobs in the database. Each function takes a transaction, so that several make one change.

What a supervisor writes of a job it writes as long as it has the job in hand: `epoch` is its number among the servers, and a
row that another one has taken since is not changed. Raises `NotOurs` then.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from millrace.base.errors import Reason, Refusal
from millrace.store.named import Queries
from millrace.store.transaction import Tx
from millrace.tuning.jobs.life import NEXT, Status
from millrace.tuning.jobs.values import Attempt, CheckpointRow, Event, Fault, Job, Level, NewJob, Plan, StepRow, Wish

_SQL = Queries("millrace.tuning.jobs")

_LAST: Final = 2**63 - 1


class NotOurs(Exception):
    """The job is in somebody else's hand, or over."""


def add(tx: Tx, job: NewJob, plan: Plan | None) -> Job:
    """A job that waits: for the counting of its files where there is no plan yet, else for its turn."""
    tx.run(
        _SQL["add"], id=job.id, tenant_id=job.tenant_id, project_id=job.project_id, key_id=job.key_id, model=job.model,
        price_id=job.price_id, training_file=job.training_file, validation_file=job.validation_file,
        wish=msgspec.json.encode(job.wish).decode(), claim_key=job.claim_key, claim_body=job.claim_body,
        status=(Status.VALIDATING if plan is None else Status.QUEUED).value, created_at=job.created_at, **_numbers(plan),
    )  # fmt: skip
    return by_id(tx, job.id)


def add_failed(tx: Tx, job: NewJob, fault: Fault) -> Job:
    """A job that is over before it began, since its files cannot be trained."""
    add(tx, job, None)
    tx.run(
        _SQL["fail_new"], id=job.id, at=job.created_at, error_code=fault.code, error=fault.sentence, error_param=fault.param
    )
    say(tx, job.id, job.created_at, fault.sentence, level="error")
    return by_id(tx, job.id)


def by_id(tx: Tx, job_id: str) -> Job:
    """For who knows that it is there."""
    row = tx.row(_SQL["find"], id=job_id)
    assert row is not None, f"there is no job {job_id}"
    return _job(row)


def find(tx: Tx, job_id: str, tenant_id: str | None = None) -> Job:
    """The tenant's job, or anybody's for the operator. Raises NOT_FOUND, for another tenant's as for none."""
    row = tx.row(_SQL["find"], id=job_id)
    job = None if row is None else _job(row)
    if job is None or (tenant_id is not None and job.tenant_id != tenant_id):
        raise Refusal(Reason.NOT_FOUND, f"there is no fine-tuning job {job_id[:80]!r}; the list of jobs has yours")
    return job


def by_claim(tx: Tx, claim_key: str) -> Job | None:
    """The job that was made with an Idempotency-Key."""
    row = tx.row(_SQL["by_claim"], claim_key=claim_key)
    return None if row is None else _job(row)


def page(tx: Tx, tenant_id: str, limit: int, after: Job | None = None) -> list[Job]:
    """The tenant's jobs, newest first, after one of them."""
    at, id_ = (_LAST, "") if after is None else (after.created_at, after.id)
    return [_job(row) for row in tx.rows(_SQL["page"], tenant_id=tenant_id, before_at=at, before_id=id_, rows=limit)]


def open_jobs(tx: Tx) -> list[Job]:
    """Those of all tenants that are not over and may run, oldest first."""
    return [_job(row) for row in tx.rows(_SQL["open"])]


def supervisors(tx: Tx) -> frozenset[int]:
    """The epochs that have a job in hand."""
    return frozenset(row[0] for row in tx.rows(_SQL["epochs"]))


def claim(tx: Tx, job_id: str, epoch: int) -> bool:
    """Take a job into hand that nobody has, or that one had whose epoch is over."""
    return tx.run(_SQL["claim"], id=job_id, epoch=epoch) == 1


def begin(tx: Tx, job_id: str, epoch: int, request_id: str, at: int) -> None:
    """It runs, and this request is what is held for it."""
    _require(tx, job_id, epoch, Status.RUNNING)
    tx.run(_SQL["begin"], id=job_id, epoch=epoch, at=at)
    tx.run(_SQL["add_attempt"], request_id=request_id, job_id=job_id, epoch=epoch, began_at=at)


def attempts(tx: Tx, job_id: str) -> list[Attempt]:
    """What was held for it, oldest first."""
    return [Attempt(request_id=row[0], epoch=row[1], began_at=row[2]) for row in tx.rows(_SQL["attempts"], job_id=job_id)]


def let_go(tx: Tx, job_id: str, epoch: int, *, not_before: int, failures: int) -> None:
    """Out of hand, to be gone on with later by whoever takes it."""
    _require(tx, job_id, epoch)
    tx.run(_SQL["let_go"], id=job_id, epoch=epoch, not_before=not_before, failures=failures)


def count_failure(tx: Tx, job_id: str, epoch: int) -> None:
    """One more, and it stays in hand."""
    _require(tx, job_id, epoch)
    tx.run(_SQL["count_failure"], id=job_id, epoch=epoch)


def set_plan(tx: Tx, job_id: str, epoch: int, plan: Plan) -> None:
    """Its files were counted."""
    _require(tx, job_id, epoch, Status.QUEUED)
    tx.run(_SQL["plan"], id=job_id, epoch=epoch, **_numbers(plan))


def progress(tx: Tx, job_id: str, epoch: int, *, step: int, steps: int, trained: int, rows: Sequence[StepRow]) -> None:
    """How far it is, and the steps since it was last said."""
    _require(tx, job_id, epoch)
    tx.run(_SQL["progress"], id=job_id, epoch=epoch, step=step, steps=steps, trained=trained)
    tx.run_many(
        _SQL["add_step"],
        [
            {
                "job_id": job_id, "step": row.step, "tokens": row.tokens, "epoch": str(row.epoch), "loss": str(row.loss),
                "held_out": None if row.held_out is None else str(row.held_out),
            }
            for row in rows
        ],
    )  # fmt: skip


def checkpoint(tx: Tx, job_id: str, epoch: int, row: CheckpointRow) -> None:
    """A checkpoint is durable."""
    _require(tx, job_id, epoch)
    tx.run(
        _SQL["add_checkpoint"], id=row.id, job_id=job_id, step=row.step, tokens=row.tokens, created_at=row.created_at
    )
    tx.run(_SQL["well"], id=job_id, epoch=epoch)


def finish(
    tx: Tx, job_id: str, epoch: int, status: Status, at: int, *, fault: Fault | None = None, tuned_model: str | None = None,
    billed: int = 0, trained: int = -1,
) -> None:  # fmt: skip
    """It is over. With a tuned model: in the transaction that publishes and bills it."""
    _require(tx, job_id, epoch, status)
    tx.run(
        _SQL["finish"], id=job_id, epoch=epoch, status=status.value, at=at, billed=billed, tuned_model=tuned_model,
        trained=trained, error_code=fault.code if fault else None, error=fault.sentence if fault else None,
        error_param=fault.param if fault else None,
    )  # fmt: skip


def cancel(tx: Tx, job: Job, at: int) -> Job:
    """Its tenant wants no more of it: over at once, or as soon as whoever has it in hand has ended its trainer. Once it is over
    another way it is too late, and nothing changes.
    """
    if tx.run(_SQL["ask_for_the_end"], id=job.id, at=at) == 1 and tx.run(_SQL["cancel_waiting"], id=job.id, at=at) == 1:
        say(tx, job.id, at, "The job was cancelled before it ran; nothing was billed.")
    return by_id(tx, job.id)


def is_cancelled(tx: Tx, job_id: str) -> bool:
    """Whether its tenant asked for its end."""
    row = tx.row(_SQL["cancelled"], id=job_id)
    return row is not None and row[0] is not None


def say(
    tx: Tx, job_id: str, at: int, message: str, *, level: Level = "info", data: dict[str, int | float] | None = None
) -> None:
    """An event of its story; one with `data` is of metrics."""
    tx.run(
        _SQL["add_event"], job_id=job_id, at=at, level=level, kind="message" if data is None else "metrics", message=message,
        data=None if data is None else msgspec.json.encode(data).decode(),
    )  # fmt: skip


def say_once(tx: Tx, job_id: str, at: int, message: str, *, level: Level = "info") -> None:
    """The same, unless it was the last message already."""
    row = tx.row(_SQL["last_message"], job_id=job_id)
    if row is None or row[0] != message:
        say(tx, job_id, at, message, level=level)


def events(tx: Tx, job_id: str, limit: int, before: int | None = None) -> list[Event]:
    """Newest first, before a number."""
    return [_event(row) for row in tx.rows(_SQL["events"], job_id=job_id, before=before or _LAST, rows=limit)]


def events_after(tx: Tx, job_id: str, after: int, limit: int) -> list[Event]:
    """Oldest first, after a number."""
    return [_event(row) for row in tx.rows(_SQL["events_after"], job_id=job_id, after=after, rows=limit)]


def steps(tx: Tx, job_id: str) -> list[StepRow]:
    """The loss curve."""
    return [_step(row) for row in tx.rows(_SQL["steps"], job_id=job_id)]


def step_at(tx: Tx, job_id: str, step: int) -> StepRow | None:
    """The last step that was said up to there."""
    row = tx.row(_SQL["step_at"], job_id=job_id, step=step)
    return None if row is None else _step(row)


def checkpoints(tx: Tx, job_id: str) -> list[CheckpointRow]:
    """Newest first."""
    return [
        CheckpointRow(id=row[0], step=row[1], tokens=row[2], created_at=row[3])
        for row in tx.rows(_SQL["checkpoints"], job_id=job_id)
    ]


def _require(tx: Tx, job_id: str, epoch: int, following: Status | None = None) -> None:
    """The job is in that server's hand, and may become what it is to be."""
    row = tx.row(_SQL["mine"], id=job_id, epoch=epoch)
    if row is None:
        raise NotOurs(job_id)
    if following is not None and following not in NEXT[Status(row[0])]:
        raise AssertionError(f"job {job_id} is {row[0]} and cannot become {following}")


def _numbers(plan: Plan | None) -> dict[str, int | None]:
    if plan is None:
        return {"examples": None, "tokens_per_epoch": None, "epochs": None, "batch_size": None, "amount": None}
    return {
        "examples": plan.examples, "tokens_per_epoch": plan.tokens_per_epoch, "epochs": plan.epochs,
        "batch_size": plan.batch_size, "amount": plan.amount,
    }  # fmt: skip


def _job(row: tuple[Any, ...]) -> Job:
    plan = None
    if row[17] is not None:
        plan = Plan(examples=row[13], tokens_per_epoch=row[14], epochs=row[15], batch_size=row[16], amount=row[17])
    fault = None if row[23] is None else Fault(code=row[23], sentence=row[24], param=row[25])
    return Job(
        id=row[0], tenant_id=row[1], project_id=row[2], key_id=row[3], model=row[4], price_id=row[5], training_file=row[6],
        validation_file=row[7], wish=msgspec.json.decode(row[8], type=Wish), created_at=row[9], claim_key=row[10],
        claim_body=row[11], status=Status(row[12]), plan=plan, step=row[18], steps=row[19], trained=row[20], billed=row[21],
        tuned_model=row[22], fault=fault, epoch=row[26], failures=row[27], not_before=row[28], cancel_at=row[29],
        started_at=row[30], finished_at=row[31],
    )  # fmt: skip


def _event(row: tuple[Any, ...]) -> Event:
    data = None if row[5] is None else msgspec.json.decode(row[5])
    return Event(number=row[0], at=row[1], level=row[2], kind=row[3], message=row[4], data=data)


def _step(row: tuple[Any, ...]) -> StepRow:
    held_out = None if row[4] is None else float(row[4])
    return StepRow(step=row[0], tokens=row[1], epoch=float(row[2]), loss=float(row[3]), held_out=held_out)
