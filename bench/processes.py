"""Child processes of a bench: pinned, waited for, looked at, and ended whatever happens."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

START_S: Final = 120.0
"""LiteLLM imports for half a minute on a busy core."""

STOP_S: Final = 20.0
_TAIL_BYTES: Final = 4000


class Child:
    """A running program, known by a name; what it prints is in `log`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float:
        """Processor seconds that it and its children have used in all their threads."""
        return sum(_cpu_s(pid) for pid in self.family())

    def memory_mb(self) -> float:
        """Resident memory now, its children's too."""
        return sum(_pages(pid) for pid in self.family()) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def family(self) -> list[int]:
        """Its own id and those of the processes that it has started and that live."""
        found = [self.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
        return found

    def wait_for(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        """Until it answers 200 there. Raises RuntimeError with the end of its output when it does not in time."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            if _answers(port, path, headers):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not answer on port {port}:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")

    def pause(self) -> None:
        """Take it and its children off the processor while another is measured."""
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        self._tell(signal.SIGCONT)

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._tell(signal.SIGKILL)
            self._process.wait()

    def _tell(self, what: signal.Signals) -> None:
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str], *, cores: Sequence[int], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """The command on these cores, from here to the end of the block."""
    log = folder / f"{name.replace(' ', '-')}.log"
    pinned = [sys.executable, "-m", "bench.launch", ",".join(map(str, cores)), *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})}, cwd=Path(__file__).parents[1],
        )  # fmt: skip
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_on_signal() -> None:
    """SIGTERM unwinds like an error does, so that every `running` block ends its child."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _pages(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return 0


def _answers(port: int, path: str, headers: Mapping[str, str]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
