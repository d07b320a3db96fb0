"""The daily upkeep of usage in a process of its own, started by the server: its task on stdin, what it did on stdout.

The place may have a password in it, so it is no argument, which everybody on the machine could read.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path

import msgspec

from millrace import schema
from millrace.base.clock import SystemClock
from millrace.base.errors import Refusal
from millrace.cli.auditing import NICE
from millrace.gateway.upkeep import Report, Task
from millrace.money.retention.exporter import Exporter
from millrace.money.retention.keeper import Keeper
from millrace.money.rollups.roller import Roller


def main() -> None:
    """Roll up, export, delete; print a `Report`."""
    os.nice(NICE)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    try:
        report = keep(task)
    except Refusal as refusal:
        sys.exit(f"millrace retention: {refusal.sentence}")
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")


def keep(task: Task) -> Report:
    """The task, done."""
    now = SystemClock().now()
    with contextlib.closing(schema.connect(task.place.opened())) as db:
        exporter = Exporter(db, Path(task.folder))
        made = exporter.run(Roller(db).roll(), now, _quiet)
        dropped = Keeper(db, exporter).run(task.usage_days, now, _quiet)
    kept = "" if dropped.kept is None else f"{dropped.kept.export.file}: {dropped.kept.why}"
    return Report(exported=len(made), dropped=dropped.requests, kept=kept)


def _quiet(words: str) -> None:
    """Nobody looks."""


def _end_with_the_server() -> None:
    """Standard input ends when the server does, however it ends; the next upkeep goes on where this one was."""
    while os.read(0, 1):  # past Python's buffer, whose lock would keep an interpreter that ends from ending
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
