"""A trainer for tests, without torch: reads the same lines and says the same events, and its steps take as long as it is told.

    MILLRACE_FAKE_STEP_S    seconds of a step (0)
    MILLRACE_FAKE_FAILS     'internal@3': fails in that way before step 3; 'exit@3' ends without a word

A token is a word. Its loss falls by the seed and the step, and its adapter is a file that says what it was made of.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

import msgspec
from msgspec import Struct

from millrace.base.errors import Refusal
from millrace.tuning.data import Example, read_file
from millrace.tuning.schedule import batches, order, tokens_after
from millrace.tuning.trainer.parent import die_with, write
from millrace.tuning.trainer.task import (
    Checkpoint,
    Counted,
    Done,
    Event,
    Failed,
    FailureKind,
    Ready,
    Step,
    Stopped,
    TrainerTask,
    parse_assignment,
    render_event,
)

ADAPTER = "adapter.bin"
CHECKPOINT = "fake.json"
CHECKPOINT_STEPS = 10


class Mark(Struct, frozen=True):
    """A checkpoint."""

    step: int


def main() -> None:
    """Do what standard input says."""
    assignment = parse_assignment(sys.stdin.buffer.readline())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    die_with(assignment.parent)
    try:
        lengths = [count(example) for example in read_file(Path(assignment.task.data))]
    except Refusal as refusal:
        _say(Failed(kind="data", sentence=refusal.sentence))
        return
    if assignment.count_only:
        _say(Counted(examples=len(lengths), tokens_per_epoch=sum(lengths), longest=max(lengths)))
        return
    train(assignment.task, lengths, stop)


def count(example: Example) -> int:
    """Words, and one for each message."""
    return sum(1 + len((message.content or "").split()) for message in example.messages)


def train(task: TrainerTask, lengths: list[int], stop: threading.Event) -> None:
    """From the newest checkpoint to the end."""
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    plan = batches(order(len(lengths), task.epochs, task.seed), task.batch_size)
    tokens = tokens_after(lengths, plan)
    pace, fails = float(os.environ.get("MILLRACE_FAKE_STEP_S", "0")), os.environ.get("MILLRACE_FAKE_FAILS", "")
    done = _newest(folder)
    _say(
        Ready(
            examples=len(lengths), tokens_per_epoch=sum(lengths), steps=len(plan), step=done, tokens=tokens[done], device="fake"
        )
    )
    for step in range(done + 1, len(plan) + 1):
        if stop.wait(pace) or stop.is_set():
            _checkpoint(folder, step - 1, tokens[step - 1])
            _say(Stopped(step=step - 1, tokens=tokens[step - 1]))
            return
        _fail(fails, step)
        _say(
            Step(
                step=step, steps=len(plan), epoch=step * task.epochs / len(plan), tokens=tokens[step],
                loss=round(4 / (1 + step / 10) + task.seed % 7 / 100, 6),
            )
        )  # fmt: skip
        if step % CHECKPOINT_STEPS == 0 or step == len(plan):
            _checkpoint(folder, step, tokens[step])
    (folder / "adapter").mkdir(exist_ok=True)
    said = f"{task.base} {task.job_id} {task.seed} {tokens[-1]}\n"
    (folder / "adapter" / ADAPTER).write_text(said)
    _say(Done(tokens=tokens[-1], adapter=str(folder / "adapter")))


def convert(adapter: Path, base: Path | None, to: Path) -> None:  # noqa: ARG001 - as conversion.convert_adapter has it
    """What stands for making such an adapter servable."""
    to.write_bytes((adapter / ADAPTER).read_bytes())


class Inline:
    """A trainer without a process, which has counted; for tests that train nothing."""

    def __init__(self, said: Event) -> None:
        self._lines = [render_event(said)]

    @classmethod
    async def spawn(cls, arguments: Sequence[str], first_input: bytes) -> "Inline":  # noqa: ARG003 - as a process is spawned
        task = parse_assignment(first_input).task
        lengths = [count(example) for example in read_file(Path(task.data))]
        return cls(Counted(examples=len(lengths), tokens_per_epoch=sum(lengths), longest=max(lengths)))

    async def line(self) -> bytes:
        return self._lines.pop() if self._lines else b""

    async def gone(self) -> str:
        return "it has counted"

    async def stop(self, terminate_s: float = 0) -> None:
        """It has ended already."""


def _fail(fails: str, step: int) -> None:
    kind, _, at = fails.partition("@")
    if not at or int(at) != step:
        return
    if kind in get_args(FailureKind):
        _say(Failed(kind=cast("FailureKind", kind), sentence=f"made to fail at step {step}"))
    sys.stdout.flush()
    os._exit(1)


def _checkpoint(folder: Path, step: int, tokens: int) -> None:
    if step == 0:
        return
    half = folder / f"{CHECKPOINT}.partial"
    with half.open("wb") as file:
        file.write(msgspec.json.encode(Mark(step)))
        file.flush()
        os.fsync(file.fileno())
    half.replace(folder / CHECKPOINT)
    _say(Checkpoint(step=step, tokens=tokens, path=str(folder / CHECKPOINT)))


def _newest(folder: Path) -> int:
    try:
        return msgspec.json.decode((folder / CHECKPOINT).read_bytes(), type=Mark).step
    except FileNotFoundError:
        return 0


def _say(event: Event) -> None:
    write(1, render_event(event))


if __name__ == "__main__":
    main()
