import msgspec
import pytest

from millrace.tuning.trainer.task import (
    Assignment,
    Checkpoint,
    Counted,
    Done,
    Event,
    Failed,
    Ready,
    Step,
    Stopped,
    TrainerTask,
    parse_assignment,
    parse_event,
    render_assignment,
    render_event,
)

TASK = TrainerTask(job_id="j", base="b.gguf", data="d.jsonl", folder="f", epochs=3, batch_size=4, context_tokens=2048)

EVENTS: list[Event] = [
    Counted(examples=10, tokens_per_epoch=100, longest=20),
    Ready(examples=10, tokens_per_epoch=100, steps=5, device="cpu"),
    Step(step=1, steps=5, epoch=0.5, tokens=40, loss=2.5, held_out=3.0),
    Checkpoint(step=1, tokens=40, path="f/checkpoint-00000001"),
    Done(tokens=200, adapter="f/adapter"),
    Stopped(step=1, tokens=40),
    Failed(kind="data", sentence="line 3: is empty"),
]


def test_an_assignment_is_one_line() -> None:
    """What goes in comes out, and a newline ends it and is nowhere inside."""
    told = Assignment(task=TASK, parent=1)
    line = render_assignment(told)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_assignment(line) == told


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_one_line_that_names_itself(event: Event) -> None:
    """Each event is a JSON object whose `event` says which, and reads back as it was."""
    line = render_event(event)
    assert msgspec.json.decode(line)["event"] == type(event).__name__.lower()
    assert parse_event(line) == event


def test_a_torn_event_is_noticed() -> None:
    """Half a line, as a killed trainer leaves it, is no event."""
    with pytest.raises(msgspec.DecodeError):
        parse_event(render_event(EVENTS[2])[:20])


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate_multiplier": 0.0}, {"seed": -1}])
def test_a_task_out_of_range_is_refused(change: dict[str, object]) -> None:
    """No epoch, no batch and no learning are no task."""
    body = msgspec.to_builtins(Assignment(task=TASK, parent=1))
    body["task"] |= change
    with pytest.raises(msgspec.ValidationError):
        parse_assignment(msgspec.json.encode(body))
