"""What the doctor sees of the machine: the program's libraries, processor, memory, GPU, limits, file systems."""

import contextlib
import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from millrace.cli.doctor_findings import (
    Finding,
    fail,
    judge_disk,
    judge_extras,
    judge_file_system,
    judge_fsync,
    judge_open_files,
    judge_python,
    judge_sqlite,
    ok,
    warn,
)
from millrace.store.sqlite import OLDEST, library_version

GPU_TIMEOUT_S: Final = 10
"""nvidia-smi on a machine with eight GPUs, its driver not loaded yet, takes some seconds."""

_REQUIREMENT: Final = re.compile(r"""^([\w.-]+).*\bextra\s*==\s*["']([\w-]+)["']""")


def programs() -> Iterator[Finding]:
    """Python, SQLite, and what can be installed besides."""
    yield judge_python(sys.version_info[:3])
    yield judge_sqlite(library_version(), OLDEST)
    yield judge_extras(*extras())


def extras() -> tuple[dict[str, list[str]], list[str]]:
    """By extra what of it is not installed, and the extras that are whole."""
    named = [found for line in metadata.requires("millrace") or () if (found := _REQUIREMENT.match(line))]
    missing: dict[str, list[str]] = {}
    for found in named:
        if not _is_installed(found[1]):
            missing.setdefault(found[2], []).append(found[1])
    return missing, sorted({found[2] for found in named} - set(missing))


def gpu() -> Finding:
    """A GPU is never needed; what there is, somebody may want to use."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ok("gpu", "none found (no nvidia-smi): embedded models run on the processor")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return warn("gpu", f"nvidia-smi does not answer ({type(error).__name__})", "see 'nvidia-smi' and the driver's log")
    return ok("gpu", "; ".join(done.stdout.strip().splitlines()))


def open_files(needed: int, connections_max: int) -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return judge_open_files(None if hard == resource.RLIM_INFINITY else hard, needed, connections_max)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_available() -> int | None:
    """Bytes that could be taken without swapping; None where the kernel does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def folder(path: Path) -> Iterator[Finding]:
    """Room, file system, fsync and locks of a folder that can be written."""
    yield judge_disk(shutil.disk_usage(path).free)
    kind = file_system(path)
    if kind is not None:
        yield judge_file_system(kind)
    with tempfile.TemporaryFile(dir=path) as file:
        begun = time.monotonic()
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())
        yield judge_fsync(time.monotonic() - begun)
    yield _locks(path)


def file_system(path: Path) -> str | None:
    """The kind of the file system that a path lies on; None where the kernel does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    except OSError:
        return None
    mounts = [(Path(fields[1].encode().decode("unicode_escape")), fields[2]) for fields in map(str.split, lines)]
    over = [(len(point.parts), kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(over)[1] if over else None


def _locks(path: Path) -> Finding:
    """Whether a lock that one holds is refused to another, by which a second server is kept out of the home."""
    with tempfile.NamedTemporaryFile(dir=path) as one, Path(one.name).open("rb") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return fail("locks", f"flock does not work there: {error.strerror}", "put the home onto a local disk")
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ok("locks", "flock holds")
    return fail("locks", "two can hold the same lock there", "put the home onto a local disk")


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
