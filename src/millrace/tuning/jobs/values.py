"""A tuning job and what is noted of it. Frozen: a change is a row's, made in the store."""

from typing import Final, Literal

from msgspec import Struct

from millrace.tuning.jobs.life import OVER, Status
from millrace.tuning.schedule import Auto

PRICE_PREFIX: Final = "tune:"
"""What is sold when a model is tuned is called 'tune:<model>' in the price book, in usage and on invoices."""


def sold_as(model: str) -> str:
    """The name under which tuning a model is priced."""
    return PRICE_PREFIX + model


class Wish(Struct, frozen=True, kw_only=True):
    """What the customer asked for besides model and files; "auto" leaves it to the schedule."""

    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"
    seed: int = 0
    suffix: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """What a job comes to: counted exactly, rated by its price version."""

    examples: int
    tokens_per_epoch: int
    epochs: int
    batch_size: int
    amount: int
    """Nano-units of the tenant's currency."""

    @property
    def tokens(self) -> int:
        """All that are trained, and billed."""
        return self.tokens_per_epoch * self.epochs


class Fault(Struct, frozen=True, kw_only=True):
    """Why a job failed, for its customer."""

    code: str
    sentence: str
    param: str | None = None


class NewJob(Struct, frozen=True, kw_only=True):
    """A job as it is made."""

    id: str
    tenant_id: str
    project_id: str
    key_id: str
    model: str
    price_id: str
    training_file: str
    validation_file: str | None
    wish: Wish
    created_at: int
    claim_key: str | None = None
    """Digest of an Idempotency-Key with tenant and project, and of what it came with."""
    claim_body: str | None = None


class Job(NewJob, frozen=True, kw_only=True):
    """A job as it stands."""

    status: Status
    plan: Plan | None
    step: int
    steps: int
    trained: int
    billed: int
    tuned_model: str | None
    fault: Fault | None
    epoch: int | None
    failures: int
    not_before: int
    cancel_at: int | None
    started_at: int | None
    finished_at: int | None

    @property
    def over(self) -> bool:
        return self.status in OVER


Level = Literal["info", "warn", "error"]


class Event(Struct, frozen=True, kw_only=True):
    """A line of a job's story."""

    number: int
    at: int
    level: Level
    kind: Literal["message", "metrics"]
    message: str
    data: dict[str, int | float] | None


class StepRow(Struct, frozen=True, kw_only=True):
    """A step of the loss curve."""

    step: int
    tokens: int
    epoch: float
    loss: float
    held_out: float | None


class CheckpointRow(Struct, frozen=True, kw_only=True):
    """A checkpoint that was durable when it was noted."""

    id: str
    step: int
    tokens: int
    created_at: int


class Attempt(Struct, frozen=True, kw_only=True):
    """A hold that was made for a job: its request's id is that of a receipt."""

    request_id: str
    epoch: int
    began_at: int
