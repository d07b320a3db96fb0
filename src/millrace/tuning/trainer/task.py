"""What passes between a supervisor and its trainer: one TrainerTask in, events out, each one line of JSON.

The trainer is `python -m millrace.tuning.trainer`; it reads an Assignment as the first line of its standard input and
writes events to its standard output. The order of events is a promise:

    counted                                            an assignment that only counts
    ready (step | checkpoint)* done                    a whole run
    ready (step | checkpoint)* checkpoint stopped      asked to stop by SIGTERM
    … failed                                           at any place, and nothing after it

Tokens in `step`, `checkpoint`, `done` and `stopped` are those trained since the very beginning of the job: a run that goes
on from a checkpoint begins at its number, which `ready` says, and `done` says exactly `tokens_per_epoch * epochs`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from millrace.settings.tuning import Device

CONTEXT_TOKENS_MAX: Final = 1 << 20

_Count = Annotated[int, Meta(ge=1)]
_Positive = Annotated[float, Meta(gt=0)]


class TrainerTask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run. The same task, run twice on a CPU, makes the same adapter to the last bit."""

    job_id: str
    base: str
    """A GGUF file, or a folder of safetensors with config.json and tokenizer.json."""
    data: str
    """JSON Lines as `tuning.data` reads them."""
    folder: str
    """The job's own folder, made if it is not there: checkpoints, log, and at the end the adapter."""
    validation: str | None = None
    """A second file of the same form: its loss is said as `held_out`, its tokens are never trained or counted."""
    epochs: _Count
    batch_size: _Count
    """Examples in one step."""
    learning_rate_multiplier: _Positive = 1.0
    rank: _Count = 16
    alpha: _Count = 32
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    context_tokens: Annotated[int, Meta(ge=16, le=CONTEXT_TOKENS_MAX)]
    """An example with more tokens is refused by its line, never cut."""
    threads: _Count = 1
    device: Device = "auto"
    """auto: the GPU when there is one."""
    checkpoint_steps: _Count = 50
    checkpoint_s: _Positive = 30.0
    """A checkpoint after so many steps or so many seconds, whichever comes first, and at the end."""


class Assignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of the trainer's standard input."""

    task: TrainerTask
    parent: int
    """Process id, to notice a parent that died before the trainer could ask to be told."""
    count_only: bool = False
    """Count the tokens and end: no weights are read, nothing is written."""


class Counted(Struct, frozen=True, kw_only=True, tag_field="event", tag="counted"):
    """What the files hold. `tokens_per_epoch` times epochs is what a run trains, and what is paid."""

    examples: int
    tokens_per_epoch: int
    longest: int
    """Tokens of the longest example."""
    held_out_examples: int = 0
    held_out_tokens: int = 0


class Ready(Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """Base and data are read and training begins, or goes on after `step`."""

    examples: int
    tokens_per_epoch: int
    steps: int
    step: int = 0
    tokens: int = 0
    device: str


class Step(Struct, frozen=True, kw_only=True, tag_field="event", tag="step"):
    """How far it is. Steps that follow each other quickly are left out, but never the last nor one with `held_out`."""

    step: int
    steps: int
    epoch: float
    tokens: int
    loss: float
    """Mean of the batches since the step that was said before, each a mean over the tokens that are learned."""
    held_out: float | None = None


class Checkpoint(Struct, frozen=True, kw_only=True, tag_field="event", tag="checkpoint"):
    """These tokens are durable: whatever happens now, no run of this job trains them again."""

    step: int
    tokens: int
    path: str


class Done(Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    """The adapter in PEFT's form is whole and on the disk."""

    tokens: int
    adapter: str


class Stopped(Struct, frozen=True, kw_only=True, tag_field="event", tag="stopped"):
    """It was asked to stop, and has after a checkpoint of everything trained so far."""

    step: int
    tokens: int


FailureKind = Literal["data", "base", "memory", "diverged", "disk", "missing", "internal"]
"""data: the file's fault, named by line. base: the base cannot be read or trained. missing: the extra is not installed."""


class Failed(Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """The run is over. `sentence` is for the customer; what else is known stands in the log file of the folder."""

    kind: FailureKind
    sentence: str


Event = Counted | Ready | Step | Checkpoint | Done | Stopped | Failed

_ENCODER: Final = msgspec.json.Encoder()
_EVENTS: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
_ASSIGNMENTS: Final = msgspec.json.Decoder(Assignment)


def render_assignment(assignment: Assignment) -> bytes:
    return _ENCODER.encode(assignment) + b"\n"


def parse_assignment(line: bytes) -> Assignment:
    """Raises msgspec.ValidationError where a value is out of its range."""
    return _ASSIGNMENTS.decode(line)


def render_event(event: Event) -> bytes:
    return _ENCODER.encode(event) + b"\n"


def parse_event(line: bytes) -> Event:
    """Raises msgspec.DecodeError for a line that is torn: its writer was killed."""
    return _EVENTS.decode(line)
