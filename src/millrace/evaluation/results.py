"""What a run writes down: a header that says what was asked, then a line for each answer that was judged (JSONL).

A line is written once the answer's receipt is there, in one write with its line end: a run that is killed leaves at most a
torn last line, which the next one takes away. Every question's Idempotency-Key comes from the run's id in the header, so an
answer that was billed and not written down is fetched again by the next run, within a day, and not billed again.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from millrace.base.errors import Reason, Refusal
from millrace.client.answers import CalledFunction

RESULTS_BYTES_MAX: Final = 1024 * 1024 * 1024
"""A million answers of 1 kB; they are held in memory."""


class Header(Struct, frozen=True, kw_only=True):
    """What was asked, and how. `run` is drawn for each file."""

    results: Literal[1] = 1
    run: str
    suite: str
    models: tuple[str, ...]
    temperature: float | None
    seed: int | None


class Result(Struct, frozen=True, kw_only=True):
    """One answer, judged. What was refused has no request and cost nothing; a repeat's answer has no latency."""

    model: str
    case: str
    attempt: int
    passed: bool
    why: str
    text: str = ""
    calls: tuple[CalledFunction, ...] = ()
    request_id: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    amount: str = "0.000000000"
    currency: str | None = None
    latency_ms: float | None = None


class Results:
    """The results of a run: those that were there, and those that are added."""

    def __init__(self, header: Header, found: list[Result], descriptor: int | None) -> None:
        self.header = header
        self.all = found
        self._descriptor = descriptor

    def add(self, result: Result) -> None:
        self.all.append(result)
        if self._descriptor is not None:
            os.write(self._descriptor, msgspec.json.encode(result) + b"\n")


@contextmanager
def open_results(path: Path | None, header: Header) -> Iterator[Results]:
    """Go on with the file, or begin it; None keeps everything in memory. CONFLICT where it is of something else or in use."""
    if path is None:
        yield Results(header, [], None)
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refusal(Reason.INVALID_REQUEST, f"the results {path} cannot be written: {error.strerror}") from None
    try:
        _lock(descriptor, path)
        yield _opened(descriptor, path, header)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refusal(Reason.CONFLICT, f"another run writes to {path}; wait for it, or give another --out") from None


def _opened(descriptor: int, path: Path, header: Header) -> Results:
    data = _read(descriptor, path)
    whole, _, torn = data.rpartition(b"\n")
    if not whole:
        if data and not data.startswith(b'{"results":'):
            raise _not_ours(path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, msgspec.json.encode(header) + b"\n")
        return Results(header, [], descriptor)
    first, *lines = whole.split(b"\n")
    try:
        before = msgspec.json.decode(first, type=Header)
        found = [msgspec.json.decode(line, type=Result) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_ours(path) from None
    _compare(before, header, path)
    if torn:
        os.ftruncate(descriptor, len(data) - len(torn))
    return Results(before, found, descriptor)


def _read(descriptor: int, path: Path) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > RESULTS_BYTES_MAX:
        raise Refusal(Reason.INVALID_REQUEST, f"the results {path} have more than {RESULTS_BYTES_MAX} bytes")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


def _compare(before: Header, header: Header, path: Path) -> None:
    asked, was = replace(header, run=""), replace(before, run="")
    for name in Header.__struct_fields__:
        old, new = getattr(was, name), getattr(asked, name)
        if old != new:
            raise Refusal(
                Reason.CONFLICT,
                f"{path} has results of another {name.removesuffix('s')} ({_said(old)}, not {_said(new)}); give another --out",
            )


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)[:40]


def _not_ours(path: Path) -> Refusal:
    return Refusal(Reason.CONFLICT, f"{path} is there and has no results of an evaluation; give another --out")
