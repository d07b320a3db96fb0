"""What a doctor's look came to, and the judgments that need nothing but values. Each finding that is not good has a remedy."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from millrace.base.clock import NS_PER_S

GIB: Final = 1024**3
MIB: Final = 1024**2

PYTHON_OLDEST: Final = (3, 11)

DISK_LOW_BYTES: Final = 1 * GIB
"""Some ten million requests in the books."""

DISK_FULL_BYTES: Final = 64 * MIB
"""What the write-ahead log alone may take."""

FSYNC_SLOW_S: Final = 0.05
"""Each commit waits for one; with 20 a second a hold is felt by everybody."""

NETWORK_FILE_SYSTEMS: Final = frozenset({"9p", "afs", "ceph", "cifs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"})

WEIGHTS_FACTOR_PERCENT: Final = 120
"""A model takes its weights' size in memory, and a fifth of it for contexts and buffers."""

YEAR_FIRST_NS: Final = 1_767_225_600 * NS_PER_S
"""2026-01-01, before which this program was not written."""

SKEW_MAX_NS: Final = 60 * NS_PER_S


class Verdict(StrEnum):
    """`warn` serves, and somebody should know; `fail` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """One look: what at, what was seen, and what to do about it."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str | None = None


def ok(name: str, detail: str) -> Finding:
    return Finding(name, Verdict.OK, detail)


def warn(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, Verdict.WARN, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, Verdict.FAIL, detail, remedy)


def judge_python(version: tuple[int, int, int]) -> Finding:
    said = ".".join(map(str, version))
    if version[:2] < PYTHON_OLDEST:
        return fail("python", said, "install Python 3.11 or newer and make the environment with it")
    return ok("python", said)


def judge_sqlite(version: tuple[int, ...], oldest: tuple[int, ...]) -> Finding:
    said = f"SQLite {'.'.join(map(str, version))}"
    if version < oldest:
        return fail("sqlite", f"{said} can corrupt the books", "install a newer wheel: pip install --upgrade apsw")
    return ok("sqlite", said)


def judge_disk(free_bytes: int) -> Finding:
    said = f"{free_bytes / GIB:.1f} GiB free"
    if free_bytes < DISK_FULL_BYTES:
        return fail("disk", said, "make room on the home's disk, or choose another folder with --home")
    if free_bytes < DISK_LOW_BYTES:
        return warn("disk", said, "make room on the home's disk before the books cannot grow")
    return ok("disk", said)


def judge_fsync(took_s: float) -> Finding:
    said = f"a write is on disk after {took_s * 1000:.1f} ms"
    if took_s > FSYNC_SLOW_S:
        return warn("fsync", said, "put the home onto a faster disk: each commit waits so long")
    return ok("fsync", said)


def judge_file_system(kind: str) -> Finding:
    if kind in NETWORK_FILE_SYSTEMS:
        return warn(
            "file system", f"the home lies on {kind}, where locks may not hold",
            "put the home onto a local disk, or the books into PostgreSQL ([store] url)",
        )  # fmt: skip
    return ok("file system", kind)


def judge_open_files(hard: int | None, needed: int, connections_max: int) -> Finding:
    """`hard` is None where there is no limit."""
    said = f"{'no limit' if hard is None else hard}, {needed} needed by limits.connections_max = {connections_max}"
    if hard is not None and hard < needed:
        return warn("open files", said, f"raise it (ulimit -Hn {needed}), or lower limits.connections_max")
    return ok("open files", said)


def judge_memory(model: str, weights_bytes: int, available_bytes: int) -> Finding:
    name = f"memory for {model}"
    said = f"weights of {weights_bytes / GIB:.2f} GiB, {available_bytes / GIB:.1f} GiB available"
    if weights_bytes * WEIGHTS_FACTOR_PERCENT > available_bytes * 100:
        return warn(name, said, "serve a smaller model or one with fewer bits, or add memory")
    return ok(name, said)


def judge_threads(model: str, threads: int, cores: int) -> Finding:
    name = f"processor for {model}"
    if threads > cores:
        return warn(name, f"{threads} threads on {cores} cores", f"set threads of the model to {cores} or less")
    return ok(name, f"{threads} threads on {cores} cores")


def judge_clock(now: int, written: int | None) -> Finding:
    """`written` is when the database was last written, by the clock of then."""
    if now < YEAR_FIRST_NS:
        return fail("clock", "it stands before 2026", "set the machine's clock, for example by an NTP service")
    if written is not None and written > now + SKEW_MAX_NS:
        return warn(
            "clock", f"the database was written {(written - now) // NS_PER_S} s in the future",
            "see why the clock went back before prices, expiries and invoices go by it",
        )  # fmt: skip
    return ok("clock", "plausible")


def judge_extras(missing: dict[str, list[str]], installed: list[str]) -> Finding:
    """By extra: what of it is not there. None of them is needed unless a setting asks for it."""
    parts = [f"{extra}: installed" for extra in sorted(installed)]
    parts += [f"{extra}: not installed ({', '.join(packages)})" for extra, packages in sorted(missing.items())]
    if missing:
        parts.append("add one with pip install 'millrace[NAME]'")
    return ok("extras", "; ".join(parts) or "this installation knows of none")
