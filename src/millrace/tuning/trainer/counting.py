"""Counting without training: the tokens of the files on one base, rendered exactly as a run would. Reads no weights."""

from pathlib import Path
from threading import Event as Flag

from millrace.tuning.data import PROBLEMS_SHOWN, read_file, refusal
from millrace.tuning.trainer.base import read_tokenizer
from millrace.tuning.trainer.failures import Say, said_when_failed
from millrace.tuning.trainer.rendering import Rendered, Renderer, Tokenizer
from millrace.tuning.trainer.task import Assignment, Counted, TrainerTask


def run(assignment: Assignment, say: Say, _stop: Flag) -> None:
    """Count, and say it."""
    with said_when_failed(say):
        say(count(assignment.task))


def count(task: TrainerTask) -> Counted:
    """Raises Refusal with the lines that cannot be trained, UnusableBaseError for the base."""
    tokenizer = read_tokenizer(task.base)
    lengths = [len(each.tokens) for each in render_file(task, tokenizer, task.data)]
    held_out = render_file(task, tokenizer, task.validation) if task.validation else []
    return Counted(
        examples=len(lengths), tokens_per_epoch=sum(lengths), longest=max(lengths, default=0),
        held_out_examples=len(held_out), held_out_tokens=sum([len(each.tokens) for each in held_out]),
    )  # fmt: skip


def render_file(task: TrainerTask, tokenizer: Tokenizer, file: str) -> list[Rendered]:
    """Every example of a file as tokens; a Refusal names the lines that this base cannot be trained with."""
    rendering = Renderer(tokenizer, task.context_tokens).render_all(read_file(Path(file)))
    if rendering.problems:
        raise refusal(rendering.problems[:PROBLEMS_SHOWN], len(rendering.problems))
    return rendering.rendered
