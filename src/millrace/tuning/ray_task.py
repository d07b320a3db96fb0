"""The trainer on a Ray cluster: the same task, the same events, on whichever machine Ray finds room.

A Ray task starts the trainer as its child there and hands its events on as they come, so nothing about a run differs but
the place: it holds the task's threads as CPUs, and one GPU when its device is `cuda` (`auto` asks Ray for none and trains
on the CPU). Base, data and folder must be on storage that every machine of the cluster reaches under the same path, and
Millrace with the extra `tune` must be installed there. A machine that is lost ends the run; started again, it goes on from
its newest checkpoint. Ray does not repeat it by itself, since only the books know whether it may.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Generator
from typing import Any, Final

from millrace.base.errors import Reason, Refusal
from millrace.tuning.trainer.parent import die_with, write
from millrace.tuning.trainer.task import (
    Assignment,
    Event,
    Failed,
    TrainerTask,
    parse_assignment,
    parse_event,
    render_assignment,
    render_event,
)

STOP_S: Final = 60.0
"""How long a trainer may take to save itself once it is to stop; then it is killed and loses the steps since."""

CONNECT_S: Final = 5.0

_LAST: Final = (b'"counted"', b'"done"', b'"stopped"', b'"failed"')


def main() -> None:
    """Do on the cluster at the address in the first argument what standard input says, as `python -m millrace.tuning.trainer`
    does it here: the same events, the same end with the parent. SIGTERM ends the task over there, whose trainer saves first."""
    assignment = parse_assignment(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = os.dup(1)
    os.dup2(2, 1)
    die_with(assignment.parent)
    try:
        for event in run_on_ray(assignment.task, count_only=assignment.count_only, address=sys.argv[1]):
            write(events, render_event(event))
    except Exception as error:  # noqa: BLE001 - a cluster fails in many ways; each is the supervisor's to try again
        sentence = error.sentence if isinstance(error, Refusal) else f"the Ray cluster failed: {type(error).__name__}"
        traceback.print_exc()
        write(events, render_event(Failed(kind="internal", sentence=sentence)))


def run_on_ray(task: TrainerTask, *, count_only: bool = False, address: str | None = None) -> Generator[Event]:
    """The events of a run on the cluster at `address`, or on the one that this process is connected to.

    Closing the iterator, or SIGTERM, stops the run and waits for its trainer to save. A Refusal says that Ray is missing; what
    Ray raises when a machine is lost comes through.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise Refusal(Reason.BAD_SETTING, "training on a cluster needs Ray; pip install 'millrace[ray]'") from None
    if not ray.is_initialized():
        _reach(address)
        ray.init(address=address, log_to_driver=False)
    remote = ray.remote(num_cpus=task.threads, num_gpus=1 if task.device == "cuda" else 0, max_retries=0)(lines)
    stream = remote.options(num_returns="streaming").remote(task, count_only)
    try:
        for reference in stream:
            yield parse_event(ray.get(reference))
    except (GeneratorExit, SystemExit):  # the second is how Ray tells its driver of SIGTERM
        ray.cancel(stream)
        ray.wait([stream.completed()], timeout=STOP_S)
        raise


def _reach(address: str | None) -> None:
    """Whether anything listens there; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        sentence = f"no Ray cluster answers at {address}: {error.strerror or 'it took too long'}"
        raise Refusal(Reason.ENGINE_UNAVAILABLE, sentence) from None


def lines(task: TrainerTask, count_only: bool) -> Generator[bytes]:
    """Runs on the cluster's machine: the trainer as a child, line by line, and never one left behind."""
    child = subprocess.Popen(
        [sys.executable, "-m", "millrace.tuning.trainer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None  # noqa: PT018
    try:
        child.stdin.write(render_assignment(Assignment(task=task, parent=os.getpid(), count_only=count_only)))
        child.stdin.flush()
        last = b""
        for line in child.stdout:
            last = line
            yield line
        if not any(word in last[:32] for word in _LAST):
            yield render_event(Failed(kind="internal", sentence=f"the trainer ended without a word, with code {child.wait()}"))
    finally:
        _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    main()
