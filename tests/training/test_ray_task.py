"""The trainer as a task of a local Ray cluster."""

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.needs import need
from tests.training.trainer import write_examples

from millrace.base.clock import SystemClock
from millrace.catalog.bundled import PATH as BUNDLED
from millrace.engines.process import Process
from millrace.making.tuning import make_servable
from millrace.settings.parse import parse_settings
from millrace.settings.tuning import Tuning
from millrace.tuning.ray_task import run_on_ray
from millrace.tuning.trainer.task import Checkpoint, Counted, Done, Event, Failed, Ready, Step, TrainerTask, parse_event
from millrace.tuning.workshop import STOP_S, Workshop

need("torch", "transformers", "peft", "trl", "accelerate", "datasets", "gguf", "ray")

pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = parse_settings("", "the defaults").models[0]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine alone."""
    ray = importlib.import_module("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)
    yield ray
    ray.shutdown()


def task(tmp_path: Path, base: Path = BUNDLED, epochs: int = 1) -> TrainerTask:
    data = write_examples(tmp_path / "train.jsonl", 12)
    return TrainerTask(
        job_id="job", base=str(base), data=str(data), folder=str(tmp_path / "job"), epochs=epochs, batch_size=4,
        context_tokens=512, checkpoint_steps=2, rank=4, alpha=8, device="cpu",
    )  # fmt: skip


@pytest.fixture
def shop(cluster: Any, tmp_path: Path) -> Workshop:
    """A workshop whose settings name the cluster."""
    how = Tuning(device="cpu", ray=cluster.get_runtime_context().gcs_address)
    return Workshop(tmp_path, Process.spawn, make_servable, SystemClock(), how)


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


@pytest.mark.usefixtures("cluster")
def test_a_failure_on_ray_is_an_event(tmp_path: Path) -> None:
    """What cannot be read over there is said over here."""
    events = list(run_on_ray(task(tmp_path, tmp_path / "gone.gguf"), count_only=True))
    assert events == [Failed(kind="base", sentence="there is no base gone.gguf; pull the model again")]


def test_a_supervisors_trainer_runs_on_the_cluster_that_the_settings_name(shop: Workshop, tmp_path: Path) -> None:
    """With `[tuning] ray` the child that a supervisor follows says the events of a trainer far away, and ends by itself."""

    async def follow() -> tuple[list[Event], str]:
        child = await shop.start(MODEL, task(tmp_path))
        events = []
        while line := await child.line():
            events.append(parse_event(line))
        return events, await child.gone()

    events, how = asyncio.run(follow())
    assert isinstance(events[0], Ready)
    assert isinstance(events[-1], Done)
    assert how == "its process ended with code 0"


def test_a_trainer_on_the_cluster_saves_before_it_stops(shop: Workshop, tmp_path: Path) -> None:
    """Asked to stop, as for a cancellation, the trainer over there writes a checkpoint, from which the next run goes on."""
    given = task(tmp_path, epochs=400)

    async def begin_and_stop() -> None:
        child = await shop.start(MODEL, given)
        while not isinstance(parse_event(await child.line()), Step):
            pass
        await child.stop(STOP_S)

    asyncio.run(begin_and_stop())
    again = run_on_ray(given)
    first = next(again)
    again.close()
    assert isinstance(first, Ready)
    assert first.step >= 1


def test_a_cluster_that_is_not_there_is_a_failure_that_is_said(shop: Workshop, tmp_path: Path) -> None:
    """It is no reason for silence, nor the customer's fault."""
    nowhere = shop._replace(how=Tuning(device="cpu", ray="127.0.0.1:1"))

    async def first() -> Event:
        child = await nowhere.start(MODEL, task(tmp_path))
        said = parse_event(await child.line())
        await child.stop()
        return said

    said = asyncio.run(first())
    assert isinstance(said, Failed)
    assert said.kind == "internal"
    assert said.sentence == "no Ray cluster answers at 127.0.0.1:1: Connection refused"
