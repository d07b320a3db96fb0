"""Real trainer processes: what they say, what they leave on the disk, and that being killed changes nothing."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.training.needs import need

need("torch", "transformers", "peft", "trl", "accelerate", "datasets", "gguf")

import msgspec
import torch
from tests.training.trainer import Child, run, write_examples
from transformers import Qwen3Config, Qwen3ForCausalLM

import millrace.catalog
from millrace.tuning import schedule
from millrace.tuning.trainer.base import read_tokenizer
from millrace.tuning.trainer.task import Checkpoint, Counted, Done, Event, Failed, Ready, Step, Stopped, TrainerTask

pytestmark = pytest.mark.filterwarnings("ignore")

BUNDLED = Path(millrace.catalog.__path__[0]) / "bundled" / "millrace-tiny.gguf"
EXAMPLES = 20
STEPS = 10


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of safetensors: the bundled model's tokenizer and a very small model with random weights."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = read_tokenizer(str(BUNDLED))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(5)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=512, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("data") / "train.jsonl", EXAMPLES)


def task(base: Path, data: Path, folder: Path, **more: Any) -> TrainerTask:
    """Ten steps: twenty examples, twice, four at a time."""
    plain = TrainerTask(
        job_id="job", base=str(base), data=str(data), folder=str(folder), epochs=2, batch_size=4, context_tokens=512,
        seed=7, rank=4, alpha=8, checkpoint_steps=3, device="cpu",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **more)


@pytest.fixture(scope="module")
def uninterrupted(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """The folder and the events of a run that nobody disturbed, with a file held out."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(task(base, data, folder, validation=str(data)))


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def failure(events: list[Event]) -> Failed:
    assert isinstance(events[-1], Failed)
    return events[-1]


def test_what_is_counted_is_what_is_trained(
    base: Path, data: Path, tmp_path: Path, uninterrupted: tuple[Path, list[Event]]
) -> None:
    """The estimate before the start, the run's own count and the tokens at its end are one number, and nothing is
    written to count."""
    counted = run(task(base, data, tmp_path / "none", validation=str(data)), count_only=True)
    assert len(counted) == 1
    assert isinstance(counted[0], Counted)
    assert counted[0].examples == counted[0].held_out_examples == EXAMPLES
    assert not (tmp_path / "none").exists()
    events = uninterrupted[1]
    assert isinstance(events[0], Ready)
    assert isinstance(events[-1], Done)
    assert events[0].tokens_per_epoch == counted[0].tokens_per_epoch
    assert events[-1].tokens == counted[0].tokens_per_epoch * 2


def test_every_event_has_the_tokens_of_its_step(data: Path, uninterrupted: tuple[Path, list[Event]]) -> None:
    """Cumulative tokens are those of the examples in the order that the seed fixed, at every step that is said."""
    tokenizer = read_tokenizer(str(BUNDLED))
    lengths = [
        len(tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=True)["input_ids"])
        for line in data.read_text().splitlines()
    ]
    after = schedule.tokens_after(lengths, schedule.batches(schedule.order(EXAMPLES, 2, 7), 4))
    said = [event for event in uninterrupted[1] if isinstance(event, Step | Checkpoint)]
    assert [event.tokens for event in said] == [after[event.step] for event in said]
    assert [event.step for event in said if isinstance(event, Checkpoint)] == [3, 6, 9, STEPS]
    assert [event.step for event in said if isinstance(event, Step)] == list(range(1, STEPS + 1))


def test_the_loss_falls_and_the_held_out_one_is_said(uninterrupted: tuple[Path, list[Event]]) -> None:
    """The model learns what it is shown."""
    steps = [event for event in uninterrupted[1] if isinstance(event, Step)]
    held_out = [event.held_out for event in steps if event.held_out is not None]
    assert len(held_out) == STEPS
    assert held_out[-1] < held_out[0]


def test_the_adapter_is_in_peft_s_form(uninterrupted: tuple[Path, list[Event]]) -> None:
    """LoRA on every linear layer of the blocks, and no path of this machine in it."""
    folder = uninterrupted[0]
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 8, "LORA")
    adapted = {name.rpartition(".")[2] for name in config["target_modules"]}
    assert adapted == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert "/" not in config["base_model_name_or_path"]
    assert {path.name for path in folder.iterdir()} == {
        "adapter", "checkpoint-00000009", "checkpoint-00000010", "trainer.log",
    }  # fmt: skip


def test_the_same_task_makes_the_same_adapter_after_kill_9(
    base: Path, data: Path, tmp_path: Path, uninterrupted: tuple[Path, list[Event]]
) -> None:
    """Killed in the middle and started again, the run goes on at its newest checkpoint and ends with the very bytes of a
    run that nobody disturbed; it says no step twice that was durable, and its tokens go on where they were."""
    given = task(base, data, tmp_path)
    child = Child(given)
    durable = 0
    for event in child.events():
        if isinstance(event, Checkpoint):
            durable = event.step
        if isinstance(event, Step) and event.step >= 4 and durable:
            os.kill(child.process.pid, signal.SIGKILL)
            break
    child.close()
    again = run(given)
    ready = again[0]
    assert isinstance(ready, Ready)
    assert ready.step >= durable >= 3
    assert ready.step < STEPS
    assert min(event.step for event in again if isinstance(event, Step)) > ready.step
    assert again[-1] == Done(tokens=ready.tokens_per_epoch * 2, adapter=str(tmp_path / "adapter"))
    assert weights(tmp_path) == weights(uninterrupted[0])


def test_sigterm_saves_and_the_run_goes_on_from_there(
    base: Path, data: Path, tmp_path: Path, uninterrupted: tuple[Path, list[Event]]
) -> None:
    """Asked to stop, the trainer finishes its step, saves, says so and ends with 0; the next run repeats nothing."""
    given = task(base, data, tmp_path, checkpoint_steps=1000)
    child = Child(given)
    events = []
    for event in child.events():
        events.append(event)
        if isinstance(event, Step) and event.step == 1:
            child.process.terminate()
    assert child.close() == 0
    stopped, saved = events[-1], events[-2]
    assert isinstance(stopped, Stopped)
    assert isinstance(saved, Checkpoint)
    assert (saved.step, saved.tokens) == (stopped.step, stopped.tokens)
    again = run(given)
    assert isinstance(again[0], Ready)
    assert (again[0].step, again[0].tokens) == (stopped.step, stopped.tokens)
    assert weights(tmp_path) == weights(uninterrupted[0])


def test_a_finished_job_is_not_trained_again(base: Path, data: Path, uninterrupted: tuple[Path, list[Event]]) -> None:
    """Started again after its end, a run says that it is done, with the same tokens."""
    folder, events = uninterrupted
    again = run(task(base, data, folder, validation=str(data)))
    assert [type(event) for event in again] == [Ready, Done]
    assert again[-1] == events[-1]


def test_another_task_does_not_go_on_from_these_checkpoints(
    base: Path, data: Path, uninterrupted: tuple[Path, list[Event]]
) -> None:
    """A folder belongs to one task: other settings are refused, not mixed with what was trained before."""
    failed = failure(run(task(base, data, uninterrupted[0], seed=8)))
    assert failed.kind == "base"
    assert "folder of its own" in failed.sentence


def test_the_trainer_ends_with_its_parent(base: Path, data: Path, tmp_path: Path) -> None:
    """When the supervisor's end of the pipe closes, in the middle of a run, the process ends by itself."""
    child = Child(task(base, data, tmp_path, epochs=400))
    assert isinstance(next(child.events()), Ready)
    assert child.close() == 1


def test_bad_data_is_refused_by_line(base: Path, tmp_path: Path) -> None:
    """The trainer trusts no earlier check: a broken line and one over the context are named, and nothing is trained."""
    file = write_examples(tmp_path / "data.jsonl", 12)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:4], "{", *lines[5:]]))
    failed = failure(run(task(base, file, tmp_path / "job")))
    assert failed.kind == "data"
    assert "line 5: is not valid JSON" in failed.sentence
    file.write_text("\n".join(lines))
    failed = failure(run(task(base, file, tmp_path / "job", context_tokens=16), count_only=True))
    assert failed.kind == "data"
    assert "line 1: has" in failed.sentence
    assert "more than the context of 16" in failed.sentence


def test_a_loss_that_is_no_number_ends_the_run(base: Path, data: Path, tmp_path: Path) -> None:
    """Steps far too large: a sentence with the remedy, no adapter, and no traceback where the customer looks."""
    failed = failure(run(task(base, data, tmp_path, learning_rate_multiplier=1e30, epochs=10)))
    assert failed.kind == "diverged"
    assert "learning_rate_multiplier" in failed.sentence
    assert not (tmp_path / "adapter").exists()
    assert "Traceback" in (tmp_path / "trainer.log").read_text()


def test_a_missing_base_is_said(data: Path, tmp_path: Path) -> None:
    """No file at the base's place: a sentence, without the machine's folders in it."""
    failed = failure(run(task(tmp_path / "gone.gguf", data, tmp_path / "job"), count_only=True))
    assert failed.kind == "base"
    assert failed.sentence == "there is no base gone.gguf; pull the model again"
