"""Jobs, files and what belongs to them in the forms of the wire. Pure."""

from collections.abc import Sequence

from millrace.base.clock import NS_PER_S
from millrace.base.money import render_amount
from millrace.tuning.curve import Point
from millrace.tuning.files.values import StoredFile
from millrace.tuning.jobs.values import Attempt, CheckpointRow, Event, Job, Plan, StepRow
from millrace.wire import fine_tuning as wire
from millrace.wire.files import FileForm


def file_form(file: StoredFile) -> FileForm:
    return FileForm(
        id=file.id, bytes=file.bytes, created_at=file.created_at // NS_PER_S, filename=file.filename, purpose=file.purpose
    )


def job_form(job: Job, attempts: Sequence[Attempt]) -> wire.FineTuningJob:
    plan, wish, fault = job.plan, job.wish, job.fault
    hyper = wire.Hyperparameters(
        n_epochs=wish.n_epochs if plan is None else plan.epochs,
        batch_size=wish.batch_size if plan is None else plan.batch_size,
        learning_rate_multiplier=wish.learning_rate_multiplier,
    )
    return wire.FineTuningJob(
        id=job.id, model=job.model, created_at=job.created_at // NS_PER_S,
        finished_at=None if job.finished_at is None else job.finished_at // NS_PER_S, fine_tuned_model=job.tuned_model,
        organization_id=job.tenant_id, status=job.status.value, training_file=job.training_file,
        validation_file=job.validation_file, hyperparameters=hyper,
        method=wire.TuningMethod(supervised=wire.SupervisedMethod(hyperparameters=hyper)),
        trained_tokens=job.billed if job.over else None,
        error=None if fault is None else wire.TuningFault(code=fault.code, message=fault.sentence, param=fault.param),
        seed=wish.seed, suffix=wish.suffix or None, step=job.step, steps=job.steps,
        estimate=None if plan is None else estimate_form(plan, job.price_id),
        request_ids=[attempt.request_id for attempt in attempts],
    )  # fmt: skip


def estimate_form(plan: Plan, price_id: str) -> wire.TuningEstimate:
    return wire.TuningEstimate(
        examples=plan.examples, tokens_per_epoch=plan.tokens_per_epoch, epochs=plan.epochs, tokens=plan.tokens,
        price=price_id, amount=render_amount(plan.amount), currency=currency_of(price_id),
    )  # fmt: skip


def currency_of(price_id: str) -> str:
    """'tune:echo/CNY/v1' → 'CNY'."""
    return price_id.rsplit("/", 2)[1]


def event_form(job: Job, event: Event) -> wire.FineTuningEvent:
    return wire.FineTuningEvent(
        id=f"ftevent-{job.id.removeprefix('ftjob-')}-{event.number}", created_at=event.at // NS_PER_S, level=event.level,
        message=event.message, type=event.kind, data=event.data,
    )  # fmt: skip


def checkpoint_form(job: Job, row: CheckpointRow, step: StepRow | None) -> wire.FineTuningCheckpoint:
    return wire.FineTuningCheckpoint(
        id=row.id, created_at=row.created_at // NS_PER_S, fine_tuning_job_id=job.id, step_number=row.step,
        trained_tokens=row.tokens,
        metrics=wire.CheckpointMetrics(
            step=row.step, train_loss=None if step is None else step.loss, valid_loss=None if step is None else step.held_out
        ),
    )  # fmt: skip


def points(rows: Sequence[StepRow]) -> list[Point]:
    """The loss curve."""
    return [Point(step=row.step, tokens=row.tokens, loss=row.loss, held_out=row.held_out) for row in rows]
