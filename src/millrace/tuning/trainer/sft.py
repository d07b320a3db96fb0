"""The run itself: LoRA by PEFT under TRL's SFTTrainer, which is told the order of the examples and where to save.

What differs from TRL's own run, so that a run can be priced, cut off and repeated: the examples come in the order that
`tuning.schedule` fixed for all epochs at once; a checkpoint is made durable by `checkpoints` before it is spoken of; a loss
that is no number ends the run at once. The loss counts the answers' tokens only. No dropout, so nothing is random once the
adapter's first weights are drawn from the seed.
"""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final, NamedTuple

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from millrace.tuning.trainer import checkpoints
from millrace.tuning.trainer.failures import DivergedError, Say
from millrace.tuning.trainer.rendering import Rendered
from millrace.tuning.trainer.task import Checkpoint, Step, TrainerTask

LEARNING_RATE: Final = 1e-3
"""At multiplier 1: what LoRA of rank 16 takes well from millions to a few hundred million parameters; larger bases want
a tenth to a half of it."""

WARM_UP: Final = 0.05
SPOKEN_S: Final = 0.5
"""Steps are said no more often than this."""

HELD_OUT_TIMES: Final = 10
LARGE: Final = 100_000_000
"""From so many parameters on, activations are computed twice rather than kept: a third slower, a fraction of the memory."""

_WRITING: Final = f"writing{checkpoints.PARTIAL}"


class Course(NamedTuple):
    """What a run goes through: the examples, their order over all epochs, and the tokens trained after each step."""

    examples: Sequence[Rendered]
    held_out: Sequence[Rendered]
    order: Sequence[int]
    tokens_after: Sequence[int]
    fingerprint: str

    @property
    def steps(self) -> int:
        return len(self.tokens_after) - 1


def train(
    task: TrainerTask, device: str, model: Any, tokenizer: Any, course: Course, resume: Path | None, say: Say, stop: Flag
) -> tuple[Any, int]:
    """Train to the end, or until `stop` is set: the model with its adapter, and the last step. Raises DivergedError."""
    trainer = _Run(
        task=task, course=course, say=say, stop=stop, model=model, processing_class=tokenizer,
        args=_arguments(task, model, course.steps, on_gpu=device == "cuda"),
        train_dataset=_dataset(course.examples).select(list(course.order)),
        eval_dataset=_dataset(course.held_out) if course.held_out else None,
        peft_config=_adapter(task),
    )  # fmt: skip
    _name_base(trainer.model, Path(task.base).name)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return trainer.model, int(trainer.state.global_step)


def save_adapter(model: Any, to: Path, course: Course) -> Path:
    """The adapter in PEFT's form, durable. Raises DivergedError when a weight in it is no number."""
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters() if weight.requires_grad):
        raise DivergedError
    partial = to.with_name(to.name + checkpoints.PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(str(partial), safe_serialization=True, save_embedding_layers=False)
    (partial / "README.md").unlink(missing_ok=True)
    return checkpoints.sealed(partial, to, fingerprint=course.fingerprint, step=course.steps, tokens=course.tokens_after[-1])


class _Run(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with our order, our checkpoints and our events."""

    def __init__(self, *, task: TrainerTask, course: Course, say: Say, stop: Flag, **given: Any) -> None:
        self._task = task
        self._course = course
        self._say = say
        super().__init__(callbacks=[_Conductor(self, task, course, say, stop)], **given)
        self.remove_callback(PrinterCallback)
        self.losses: list[float] = []

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def training_step(self, *given: Any, **named: Any) -> Any:
        loss = super().training_step(*given, **named)
        value = float(loss)
        if not math.isfinite(value):
            raise DivergedError
        self.losses.append(value)
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder, step = Path(self._task.folder), int(self.state.global_step)
        shutil.rmtree(folder / _WRITING, ignore_errors=True)
        Trainer._save_checkpoint(self, model, trial)  # noqa: SLF001 (without the model card that TRL's own writes)
        written = folder / _WRITING / f"checkpoint-{step}"
        tokens = self._course.tokens_after[step]
        path = checkpoints.sealed(
            written, checkpoints.place(folder, step), fingerprint=self._course.fingerprint, step=step, tokens=tokens
        )
        shutil.rmtree(folder / _WRITING, ignore_errors=True)
        checkpoints.forget_older(folder)
        self._say(Checkpoint(step=step, tokens=tokens, path=str(path)))


class _Conductor(TrainerCallback):  # type: ignore[misc]
    """Says how far it is, and decides after each step whether to evaluate, to save, to stop."""

    def __init__(self, run: _Run, task: TrainerTask, course: Course, say: Say, stop: Flag) -> None:
        self._run = run
        self._task = task
        self._course = course
        self._say = say
        self._stop = stop
        self._held_out_every = max(1, course.steps // HELD_OUT_TIMES)
        self._said_s = 0.0
        self._saved_s = time.monotonic()
        self._saved_step = 0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._saved_s, self._saved_step = time.monotonic(), state.global_step

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        step, last = state.global_step, state.global_step >= self._course.steps
        if self._course.held_out and (last or step % self._held_out_every == 0):
            control.should_evaluate = True  # and on_evaluate says the step
        elif last or time.monotonic() - self._said_s >= SPOKEN_S:
            self._speak(step, None)
        control.should_training_stop = last or self._stop.is_set()
        control.should_save = control.should_training_stop or self._is_due(step)
        return control

    def on_evaluate(self, _args: Any, state: Any, _control: Any, metrics: Any = None, **_: Any) -> None:
        self._speak(state.global_step, round(float(metrics["eval_loss"]), 6))

    def on_save(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._saved_s, self._saved_step = time.monotonic(), state.global_step

    def _is_due(self, step: int) -> bool:
        since = step - self._saved_step
        return since >= self._task.checkpoint_steps or time.monotonic() - self._saved_s >= self._task.checkpoint_s

    def _speak(self, step: int, held_out: float | None) -> None:
        losses, steps = self._run.losses, self._course.steps
        trained = min(step * self._task.batch_size, len(self._course.order))
        self._say(
            Step(
                step=step, steps=steps, epoch=round(trained / len(self._course.examples), 4),
                tokens=self._course.tokens_after[step], loss=round(sum(losses) / max(1, len(losses)), 6), held_out=held_out,
            )
        )  # fmt: skip
        losses.clear()
        self._said_s = time.monotonic()


def _arguments(task: TrainerTask, model: Any, steps: int, *, on_gpu: bool) -> Any:
    large = model.num_parameters() >= LARGE
    return SFTConfig(
        output_dir=str(Path(task.folder) / _WRITING),
        per_device_train_batch_size=task.batch_size, per_device_eval_batch_size=task.batch_size,
        num_train_epochs=1, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, shuffle_dataset=False,
        learning_rate=LEARNING_RATE * task.learning_rate_multiplier, lr_scheduler_type="cosine",
        warmup_steps=max(1, math.ceil(steps * WARM_UP)), weight_decay=0.0, max_grad_norm=1.0, optim="adamw_torch",
        seed=task.seed, data_seed=task.seed, use_cpu=not on_gpu, bf16=on_gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=large, dataloader_pin_memory=on_gpu, disable_tqdm=True, report_to="none",
        logging_strategy="no", save_strategy="no", eval_strategy="no", logging_nan_inf_filter=False,
    )  # fmt: skip


def _adapter(task: TrainerTask) -> LoraConfig:
    return LoraConfig(
        r=task.rank, lora_alpha=task.alpha, lora_dropout=0.0, bias="none", target_modules="all-linear",
        task_type=TaskType.CAUSAL_LM,
    )  # fmt: skip


def _dataset(rendered: Sequence[Rendered]) -> Dataset:
    return Dataset.from_dict({"input_ids": [each.tokens for each in rendered], "labels": [each.labels for each in rendered]})


def _name_base(model: Any, name: str) -> None:
    """The adapter names its base, not the folder that the base lies in on this machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = name
