"""The trainer as a task of a local Ray cluster; skipped where Ray is not installed, since no extra brings it."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.needs import need
from tests.training.trainer import write_examples

from millrace.base.errors import Refusal
from millrace.tuning.ray_task import run_on_ray
from millrace.tuning.trainer.task import Checkpoint, Counted, Done, Failed, Ready, Step, TrainerTask

need("torch", "transformers", "peft", "trl", "accelerate", "datasets", "gguf")

import millrace.catalog

pytestmark = pytest.mark.filterwarnings("ignore")

BUNDLED = Path(millrace.catalog.__path__[0]) / "bundled" / "millrace-tiny.gguf"
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="not installed: ray; pip install ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine alone."""
    ray = importlib.import_module("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)
    yield ray
    ray.shutdown()


def task(tmp_path: Path, base: Path = BUNDLED) -> TrainerTask:
    data = write_examples(tmp_path / "train.jsonl", 12)
    return TrainerTask(
        job_id="job", base=str(base), data=str(data), folder=str(tmp_path / "job"), epochs=1, batch_size=4, context_tokens=512,
        checkpoint_steps=2, rank=4, alpha=8,
    )  # fmt: skip


@needs_ray
@pytest.mark.usefixtures("cluster")
def test_a_run_on_ray_says_the_same_events(tmp_path: Path) -> None:
    """The same task on a cluster: counted, ready, steps, a checkpoint, done, and the adapter lies in the job's folder."""
    given = task(tmp_path)
    counted = list(run_on_ray(given, count_only=True))
    events = list(run_on_ray(given))
    assert isinstance(counted[0], Counted)
    assert isinstance(events[0], Ready)
    assert {type(event) for event in events[1:-1]} == {Step, Checkpoint}
    assert events[-1] == Done(tokens=counted[0].tokens_per_epoch, adapter=str(tmp_path / "job" / "adapter"))
    assert (tmp_path / "job" / "adapter" / "adapter_model.safetensors").is_file()


@needs_ray
@pytest.mark.usefixtures("cluster")
def test_a_failure_on_ray_is_an_event(tmp_path: Path) -> None:
    """What cannot be read over there is said over here."""
    events = list(run_on_ray(task(tmp_path, tmp_path / "gone.gguf"), count_only=True))
    assert events == [Failed(kind="base", sentence="there is no base gone.gguf; pull the model again")]


@pytest.mark.skipif(HAS_RAY, reason="ray is installed")
def test_without_ray_a_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    """Ray is imported only when a run asks for it."""
    with pytest.raises(Refusal, match="pip install ray"):
        next(run_on_ray(task(tmp_path)))
