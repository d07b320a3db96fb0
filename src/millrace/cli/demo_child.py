"""A server of the demo's own: `millrace up` as a child process, and nothing of it left afterwards."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from millrace.base.errors import Reason, Refusal

STOP_S: Final = 45.0
"""The 30 seconds of drain that the server has by default, and what closing takes; then it is killed."""

LOG_NAME: Final = "demo-server.log"


class Child:
    """Use it as a context manager: entered once the server is ready, left once it was reaped."""

    base_url: str
    key: str
    tenant: str
    model: str
    exit_code: int | None = None

    def __init__(self, home: Path, config: Path | None) -> None:
        self._home = home
        self._config = config

    def __enter__(self) -> Self:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._home / LOG_NAME).open("wb") as log:
            self._process = _spawn(self._arguments(), log)
        try:
            self._read_announcement()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _arguments(self) -> list[str]:
        given = [] if self._config is None else ["--config", str(self._config.absolute())]
        return ["up", "--json", "--host", "127.0.0.1", "--port", "0", "--home", str(self._home), *given]

    def _read_announcement(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, f"the server did not start: {self._last_words()}")
        said = json.loads(line)
        ready = [model["name"] for model in said["models"] if model["state"] == "ready"]
        if not ready:
            states = ", ".join(f"{model['name']} is {model['state']}" for model in said["models"])
            raise Refusal(Reason.ENGINE_UNAVAILABLE, f"the server has no model that is ready: {states}")
        if said["key"] is None:
            raise Refusal(Reason.CONFLICT, "the books that the settings name are not new; the demo needs new ones")
        self.base_url, self.key, self.tenant, self.model = said["base_url"], said["key"], said["tenant"], ready[0]

    def _last_words(self) -> str:
        lines = (self._home / LOG_NAME).read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("millrace: ") if lines else "it said nothing"

    def _stop(self) -> None:
        self._process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        finally:  # also when a further Ctrl-C does not want to wait
            self._process.kill()
            self.exit_code = self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


def _spawn(arguments: Sequence[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """The same interpreter, and modules from where ours came from."""
    command = [sys.executable, "-m", "millrace.cli.main", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
