"""Fine-tuning jobs (OpenAI API form): the body into a request, and the forms of answers."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from millrace.wire.json_body import decode_body, invalid, unsupported

EPOCHS_MAX: Final = 50
BATCH_MAX: Final = 256
MULTIPLIER_MAX: Final = 100

Auto = Literal["auto"]
Identifier = Annotated[str, Meta(min_length=1, max_length=128)]


class HyperparametersBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    n_epochs: Annotated[int, Meta(ge=1, le=EPOCHS_MAX)] | Auto | None = None
    batch_size: Annotated[int, Meta(ge=1, le=BATCH_MAX)] | Auto | None = None
    learning_rate_multiplier: Annotated[float, Meta(gt=0, le=MULTIPLIER_MAX)] | Auto | None = None


class SupervisedBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    hyperparameters: HyperparametersBody | None = None


class MethodBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    supervised: SupervisedBody | None = None
    dpo: Any = None
    reinforcement: Any = None


class FineTuningBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: Identifier
    training_file: Identifier
    validation_file: Identifier | None = None
    suffix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z")] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    hyperparameters: HyperparametersBody | None = None
    method: MethodBody | None = None

    # Refused by name, see NOT_SUPPORTED.
    integrations: Any = None
    metadata: Any = None


NOT_SUPPORTED: Final = {
    "integrations": "is not supported; the curve of a job is at GET /v1/fine_tuning/jobs/{id}/curve.svg",
    "metadata": "is not supported",
}

_DECODER = msgspec.json.Decoder(FineTuningBody)


class FineTuningRequest(Struct, frozen=True, kw_only=True):
    """A job as asked; `seed` None: any."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str
    seed: int | None
    n_epochs: int | Auto
    batch_size: int | Auto
    learning_rate_multiplier: float | Auto


def parse_fine_tuning(body: bytes) -> FineTuningRequest:
    """Raises a Refusal with the name of what is wrong, or is not honoured here."""
    asked = decode_body(body, _DECODER)
    for name, why in NOT_SUPPORTED.items():
        if getattr(asked, name) is not None:
            unsupported(name, why)
    hyper = _hyperparameters(asked)
    return FineTuningRequest(
        model=asked.model, training_file=asked.training_file, validation_file=asked.validation_file,
        suffix=asked.suffix or "", seed=asked.seed, n_epochs=hyper.n_epochs or "auto", batch_size=hyper.batch_size or "auto",
        learning_rate_multiplier=hyper.learning_rate_multiplier or "auto",
    )  # fmt: skip


def _hyperparameters(asked: FineTuningBody) -> HyperparametersBody:
    """In `method`, or where they stood before there was one."""
    old, method = asked.hyperparameters, asked.method
    if method is None:
        return old or HyperparametersBody()
    if method.type != "supervised":
        unsupported("method.type", f"{method.type[:40]!r} is not supported; models here are tuned by the method supervised")
    for name in ("dpo", "reinforcement"):
        if getattr(method, name) is not None:
            unsupported(f"method.{name}", "is not supported; models here are tuned by the method supervised")
    new = None if method.supervised is None else method.supervised.hyperparameters
    if old is not None and new is not None:
        invalid("hyperparameters", "stands in method.supervised too; give it once")
    return new or old or HyperparametersBody()


class TuningFault(Struct, frozen=True, kw_only=True):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class Hyperparameters(Struct, frozen=True, kw_only=True):
    """As they were asked for; numbers once the files were counted."""

    n_epochs: int | Auto
    batch_size: int | Auto
    learning_rate_multiplier: float | Auto


class SupervisedMethod(Struct, frozen=True, kw_only=True):
    """The hyperparameters once more, in their newer place."""

    hyperparameters: Hyperparameters


class TuningMethod(Struct, frozen=True, kw_only=True):
    """How a job tunes."""

    type: str = "supervised"
    supervised: SupervisedMethod


class TuningEstimate(Struct, frozen=True, kw_only=True):
    """What all of a job comes to: `tokens` = tokens_per_epoch × epochs, rated by the version of the price."""

    object: str = "fine_tuning.estimate"
    examples: int
    tokens_per_epoch: int
    epochs: int
    tokens: int
    price: str
    amount: str
    currency: str


class FineTuningJob(Struct, frozen=True, kw_only=True):
    """A job. Its `request_ids` are those of receipts, one for each attempt, of which one at most was billed."""

    id: str
    object: str = "fine_tuning.job"
    model: str
    created_at: int
    finished_at: int | None
    fine_tuned_model: str | None
    organization_id: str
    result_files: tuple[str, ...] = ()
    status: str
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters
    method: TuningMethod
    trained_tokens: int | None
    error: TuningFault | None
    seed: int
    suffix: str | None
    step: int
    steps: int
    estimate: TuningEstimate | None
    request_ids: Sequence[str]


class FineTuningJobList(Struct, frozen=True, kw_only=True):
    """Some of a tenant's jobs, newest first."""

    object: str = "list"
    data: Sequence[FineTuningJob]
    has_more: bool


class FineTuningEvent(Struct, frozen=True, kw_only=True):
    """A line of a job's story; one of the type metrics has numbers in `data`."""

    id: str
    object: str = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, int | float] | None


class FineTuningEventList(Struct, frozen=True, kw_only=True):
    """Some of a job's events, newest first."""

    object: str = "list"
    data: Sequence[FineTuningEvent]
    has_more: bool


class CheckpointMetrics(Struct, frozen=True, kw_only=True):
    """How good the model was at a checkpoint."""

    step: int
    train_loss: float | None
    valid_loss: float | None


class FineTuningCheckpoint(Struct, frozen=True, kw_only=True):
    """A point from which a job goes on when it was interrupted. It is not a model of its own."""

    id: str
    object: str = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str | None = None
    fine_tuning_job_id: str
    step_number: int
    trained_tokens: int
    metrics: CheckpointMetrics


class FineTuningCheckpointList(Struct, frozen=True, kw_only=True):
    """Some of a job's checkpoints, newest first."""

    object: str = "list"
    data: Sequence[FineTuningCheckpoint]
    has_more: bool
    first_id: str | None
    last_id: str | None
