"""The trainer as its supervisor has it: a child process, its events, and the ends that it can come to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from millrace.tuning.trainer.task import Assignment, Event, TrainerTask, parse_event, render_assignment


class Child:
    """A trainer that has been given its assignment."""

    def __init__(self, task: TrainerTask, *, count_only: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "millrace.tuning.trainer"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(render_assignment(Assignment(task=task, parent=os.getpid(), count_only=count_only)))
        self.process.stdin.flush()

    def events(self) -> Iterator[Event]:
        """Until the child ends; half a line that a killed one left is none."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                yield parse_event(line)
            except msgspec.DecodeError:
                return

    def close(self) -> int:
        """The end of its standard input, and its return code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(120)
        self.process.stdout.close()
        return code


def run(task: TrainerTask, *, count_only: bool = False) -> list[Event]:
    """All events of a run to its end."""
    child = Child(task, count_only=count_only)
    events = list(child.events())
    child.close()
    return events


def write_examples(file: Path, count: int, answer: str = "Ahoy, captain! The {} is aboard.") -> Path:
    """A training file of so many short conversations, each a little different."""
    goods = ("kettle", "lamp", "chair", "clock", "mug", "vase")
    lines = []
    for number in range(count):
        goods_name = goods[number % len(goods)]
        lines.append(
            {
                "messages": [
                    {"role": "user", "content": f"Hello, do you have {goods_name} number {number}?"},
                    {"role": "assistant", "content": answer.format(goods_name)},
                ]
            }
        )
    file.write_text("\n".join([json.dumps(line) for line in lines]), encoding="utf-8")
    return file
