"""A whole Millrace as its operator runs it: a process of its own on a home, in front of a fake upstream in another."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

START_S = 30
STOP_S = 30

CONFIG = """
[[models]]
name = "paced"
engine = "remote"
url = "{url}"
upstream = "fake"
context_tokens = 8192
max_output_tokens = 4096

[[prices]]
model = "paced"
currency = "CNY"
input = "0.8"
cached_input = "0.16"
output = "2.0"
"""


class Upstream:
    """The fake upstream in its own process; `url` is its base address."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "millrace.engines.fake.server", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = _line(self.process.stdout).split()[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Cloud:
    """`millrace up` on a home, with the bundled model or in front of an upstream; may be killed and started again."""

    def __init__(self, home: Path, upstream: Upstream | None = None) -> None:
        self.home = home
        home.mkdir(mode=0o700, exist_ok=True)
        if upstream is not None:
            (home / "millrace.toml").write_text(CONFIG.format(url=upstream.url))
        self.key = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> None:
        """Start, with further arguments of `up`, and wait until it serves."""
        log = (self.home / "server.log").open("a")
        self.process = subprocess.Popen(
            [*MILLRACE, "up", "--json", "--port", "0", "--home", str(self.home), *arguments],
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        log.close()
        announced = json.loads(_line(self.process.stdout))
        self.url = str(announced["base_url"]).removesuffix("/v1").removesuffix("/")
        self.port = int(self.url.rsplit(":", 1)[1])
        self.key = announced["key"] or self.key

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop, and say its exit code."""
        return self._end(signal.SIGTERM)

    def command(self, *arguments: str) -> Any:
        """Run a millrace command on the home; its JSON. An exit code other than 0 is an error with what it said."""
        run = subprocess.run(
            [*MILLRACE, *arguments, "--json", "--home", str(self.home)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert run.returncode == 0, f"{arguments}: {run.stderr}\n{run.stdout}"
        return json.loads(run.stdout)

    def get(self, path: str) -> Any:
        """The JSON of a GET with the key."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            answer = client.getresponse()
            body = answer.read()
        finally:
            client.close()
        assert answer.status == 200, f"{path}: {answer.status} {body!r}"
        return json.loads(body)

    def log(self) -> str:
        return (self.home / "server.log").read_text()

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code


MILLRACE = (sys.executable, "-m", "millrace.cli.main")


@contextmanager
def cloud(home: Path, *upstream_arguments: str) -> Iterator[Cloud]:
    """A cloud on a home and its upstream, both gone at the end whatever happens."""
    with Upstream(*upstream_arguments) as upstream:
        made = Cloud(home, upstream)
        try:
            yield made
        finally:
            if made.process is not None:
                made.kill()


class Stream:
    """A client of one stream, on a bare socket, so that it knows what it got to the byte."""

    def __init__(self, cloud: Cloud, max_tokens: int) -> None:
        self.request_id = ""
        self.tokens = 0
        self.finished = False
        self.cloud = cloud
        self._max_tokens = max_tokens

    async def run(self, leave_after: int | None) -> None:
        """Read to the end, or say goodbye after so many tokens and read what is still on its way."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.cloud.port)
        except OSError:
            return
        try:
            writer.write(self._request())
            while line := await reader.readline():
                self._take(line)
                if leave_after is not None and self.tokens >= leave_after:
                    leave_after = None
                    writer.write_eof()
        except OSError:
            pass  # the server was killed
        finally:
            writer.close()

    def _request(self) -> bytes:
        body = json.dumps(
            {"model": "paced", "stream": True, "max_tokens": self._max_tokens, "messages": [{"role": "user", "content": "go"}]}
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.cloud.key}\r\n"
        return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def _take(self, line: bytes) -> None:
        if line.lower().startswith(b"x-request-id:"):
            self.request_id = line.split(b":", 1)[1].strip().decode()
        elif line == b"data: [DONE]\n":
            self.finished = True
        elif line.startswith(b"data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                self.tokens += bool(choice["delta"].get("content"))


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    line = stream.readline()
    assert line, "the process ended before it said where it listens"
    return line.strip()


def alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
