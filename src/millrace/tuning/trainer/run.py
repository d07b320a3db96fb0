"""A task from its files to its adapter: everything between the process (`__main__`) and the training (`sft`)."""

import hashlib
from pathlib import Path
from threading import Event as Flag
from typing import Final

import msgspec
import torch

from millrace.tuning import schedule
from millrace.tuning.trainer import checkpoints, sft
from millrace.tuning.trainer.base import UnusableBaseError, read_model, read_tokenizer, resolved_device
from millrace.tuning.trainer.counting import render_file
from millrace.tuning.trainer.failures import Say, said_when_failed
from millrace.tuning.trainer.rendering import Tokenizer
from millrace.tuning.trainer.sft import Course
from millrace.tuning.trainer.task import Assignment, Done, Ready, Stopped, TrainerTask

ADAPTER: Final = "adapter"
"""The folder of the result, inside the job's own."""

_HEAD_BYTES: Final = 1 << 20


def run(assignment: Assignment, say: Say, stop: Flag) -> None:
    """Train, and say how it ended: whatever goes wrong is said as a sentence and stands in full in the log."""
    torch.set_num_threads(assignment.task.threads)
    with said_when_failed(say):
        train(assignment.task, say, stop)


def train(task: TrainerTask, say: Say, stop: Flag) -> None:
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.sweep(folder)
    device = resolved_device(task.device)
    tokenizer = read_tokenizer(task.base)
    course = plan(task, tokenizer)
    total, steps = course.tokens_after[-1], course.steps
    per_epoch = sum([len(each.tokens) for each in course.examples])
    found = checkpoints.newest(folder)
    finished = checkpoints.whole(folder / ADAPTER)
    for seal in (found.seal if found else None, finished):
        if seal is not None and seal.fingerprint != course.fingerprint:
            raise UnusableBaseError(
                f"the folder of job {task.job_id} holds checkpoints of another base, file or setting; "
                "give the job a folder of its own"
            )
    begun = steps if finished else found.seal.step if found else 0
    ready = Ready(
        examples=len(course.examples), tokens_per_epoch=per_epoch, steps=steps, step=begun,
        tokens=course.tokens_after[begun], device=device,
    )  # fmt: skip
    if finished is not None:
        say(ready)
        say(Done(tokens=total, adapter=str(folder / ADAPTER)))
        return
    model = read_model(task.base, device)
    say(ready)
    if stop.is_set():
        say(Stopped(step=begun, tokens=course.tokens_after[begun]))
        return
    tuned, step = sft.train(task, device, model, tokenizer, course, found.path if found else None, say, stop)
    if step < steps:
        say(Stopped(step=step, tokens=course.tokens_after[step]))
        return
    adapter = sft.save_adapter(tuned, folder / ADAPTER, course)
    say(Done(tokens=total, adapter=str(adapter)))


def plan(task: TrainerTask, tokenizer: Tokenizer) -> Course:
    """Everything about the run that is known before it. Raises Refusal with the lines that cannot be trained."""
    examples = render_file(task, tokenizer, task.data)
    held_out = render_file(task, tokenizer, task.validation) if task.validation else []
    order = schedule.order(len(examples), task.epochs, task.seed)
    lengths = [len(each.tokens) for each in examples]
    steps = schedule.batches(order, task.batch_size)
    return Course(examples, held_out, order, schedule.tokens_after(lengths, steps), fingerprint(task))


def fingerprint(task: TrainerTask) -> str:
    """The same for two tasks that make the same adapter: not the device, not how often they save."""
    told = [
        _base_mark(Path(task.base)), checkpoints.file_hash(Path(task.data)), task.epochs, task.batch_size,
        task.learning_rate_multiplier, task.rank, task.alpha, task.seed, task.context_tokens,
    ]  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _base_mark(base: Path) -> list[tuple[str, int, str]]:
    files = sorted(base.glob("*.safetensors")) + sorted(base.glob("*.json")) if base.is_dir() else [base]
    marks = []
    for path in files:
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
        marks.append((path.name, path.stat().st_size, head))
    return marks
