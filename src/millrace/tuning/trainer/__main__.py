"""The trainer's process: `python -m millrace.tuning.trainer`. Reads an Assignment, writes events, ends with its parent.

Theory of operation. Events alone go to the standard output that the process was started with; whatever else is printed, by
libraries too, goes to `trainer.log` in the job's folder, or when only counting to standard error. The process ends with its
parent in two ways: the kernel sends SIGKILL (Linux), and a thread waits for the end of standard input. Neither loses more
than the steps since the last checkpoint. SIGTERM lets the step under way finish, saves, and ends with `stopped`; while the
base is still being read it is obeyed as soon as that is done. Nothing is fetched from anywhere.
"""

import contextlib
import importlib
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from millrace.tuning.trainer.parent import die_with, write
from millrace.tuning.trainer.task import Assignment, Event, Failed, parse_assignment, render_event

NEEDED: Final = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "gguf")
"""What the extra `tune` brings."""

LOG: Final = "trainer.log"


def main() -> None:
    """Do what standard input says."""
    assignment = parse_assignment(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    events = os.dup(1)
    _redirect_output(assignment)
    die_with(assignment.parent)

    def say(event: Event) -> None:
        write(events, render_event(event))

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sentence = f"tuning needs {', '.join(missing)}; install them with: pip install 'millrace[tune]'"
        say(Failed(kind="missing", sentence=sentence))
        return
    _quiet_environment(assignment.task.threads)
    work = "counting" if assignment.count_only else "run"
    importlib.import_module(f"millrace.tuning.trainer.{work}").run(assignment, say, stop)


def _redirect_output(assignment: Assignment) -> None:
    if assignment.count_only:
        os.dup2(2, 1)
        return
    folder = Path(assignment.task.folder)
    with contextlib.suppress(OSError):  # said by the run, which makes the folder again
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 2)
        os.close(log)
    os.dup2(2, 1)


def _quiet_environment(threads: int) -> None:
    """Before the libraries are imported, which read it then."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads), "TRL_EXPERIMENTAL_SILENCE": "1",
    }  # fmt: skip


if __name__ == "__main__":
    main()
