"""Turns of several writers on one file: one at a time, none twice while another waits, and none lost with its process."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from millrace.store.turnstile import Turnstile

PATIENT_S = 20.0

HOLDER = """
import sys, signal
from pathlib import Path
from millrace.store.turnstile import Turnstile
turnstile = Turnstile(Path(sys.argv[1]))
print(turnstile.enter(5), flush=True)
signal.pause()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    """While one has the turn another waits in vain, and has it once it is left."""
    first, second = Turnstile(tmp_path / "a.db"), Turnstile(tmp_path / "a.db")
    assert first.enter(0)
    assert not second.enter(0)
    first.leave()
    assert second.enter(0)
    second.leave()
    second.leave()
    assert first.enter(0)
    for each in (first, second):
        each.close()


def test_two_files_have_turns_of_their_own(tmp_path: Path) -> None:
    """Who writes one database does not hold up another."""
    turnstiles = [Turnstile(tmp_path / name) for name in ("a.db", "b.db")]
    assert all(each.enter(0) for each in turnstiles)
    for each in turnstiles:
        each.close()


def test_nobody_has_two_turns_while_another_waits(tmp_path: Path) -> None:
    """Once a second one waits, the first one, however fast it comes back, is behind it."""
    first, second = Turnstile(tmp_path / "a.db"), Turnstile(tmp_path / "a.db")
    assert first.enter(0)
    had: list[bool] = []
    waiter = threading.Thread(target=lambda: had.append(second.enter(PATIENT_S)))
    waiter.start()
    while not somebody_waits(tmp_path / "a.db-queue"):
        assert waiter.is_alive()
    first.leave()
    assert not first.enter(0)
    waiter.join()
    assert had == [True]
    second.leave()
    assert first.enter(0)
    for each in (first, second):
        each.close()


def somebody_waits(queue: Path) -> bool:
    """Whether the head of the queue is taken."""
    with queue.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_killed_holder_gives_its_turn_back(tmp_path: Path) -> None:
    """`kill -9` with the turn in hand: the next one has it."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "a.db")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    turnstile = Turnstile(tmp_path / "a.db")
    assert not turnstile.enter(0)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert turnstile.enter(PATIENT_S)
    turnstile.close()
