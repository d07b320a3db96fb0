"""What the doctor sees of one cloud: its home, settings, database, port and models. Nothing is made, migrated or changed."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from millrace import schema
from millrace.base.errors import Refusal
from millrace.catalog.model import Model
from millrace.cli import doctor_machine as machine
from millrace.cli.announcement import address
from millrace.cli.doctor_findings import Finding, fail, judge_clock, judge_memory, judge_threads, ok, warn
from millrace.settings.parse import Server, Settings, check_weights
from millrace.store.migrations import schema_version
from millrace.tuning.jobs import store
from millrace.tuning.workshop import missing_for, remedy

TIMEOUT_S: Final = 3.0
"""For a server on the same network; one that takes longer to list its models is not well."""

ANSWER_BYTES_MAX: Final = 1024 * 1024

_OWNER_ONLY: Final = 0o077
_DIRECT: Final[OpenerDirector] = build_opener(ProxyHandler({}))


def home(path: Path) -> Iterator[Finding]:
    """The folder itself, or the one that it would be made in."""
    if not path.exists():
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            yield fail("home", f"{path} cannot be made in {above}", "give a folder that you can write with --home")
            return
        yield ok("home", f"{path} is not there yet; 'millrace up --home {path}' makes it")
        yield from machine.folder(above)
        return
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        yield fail("home", f"{path} is no folder that you can write", "give one with --home, or mend its permissions")
        return
    if path.stat().st_mode & _OWNER_ONLY:
        yield warn("home", f"others can read {path}", f"chmod 700 {path}")
    else:
        yield ok("home", str(path))
    yield from machine.folder(path)


def database(place: Path | str) -> Finding:
    """Whether it opens and is of this program's version; a file that is not there is none yet."""
    if isinstance(place, Path) and not place.is_file():
        return ok("database", f"{place.name} is not there yet; the first start makes it")
    try:
        with contextlib.closing(schema.connect(place)) as db:
            ours = len(schema.migrations(db.dialect))
            found = db.read(schema_version)
    except Refusal as refusal:
        return fail("database", refusal.sentence, "see what the sentence names; the books are only read by this check")
    if found == 0:
        return ok("database", "reachable and empty; the first start makes its tables")
    if found > ours:
        return fail(
            "database", f"its schema has version {found}, this program knows {ours}",
            "run the newer Millrace that made it, or restore a backup",
        )  # fmt: skip
    if found < ours:
        return warn(
            "database", f"its schema has version {found} of {ours}", "the next start brings it up to date; back it up before"
        )
    return ok("database", f"schema version {found}")


def clock(now: int, place: Path | str) -> Finding:
    written = place.stat().st_mtime_ns if isinstance(place, Path) and place.is_file() else None
    return judge_clock(now, written)


def port(server: Server, timeout_s: float = TIMEOUT_S) -> Finding:
    """Free, served by a Millrace, or taken by something else, which may not answer at all."""
    if server.port == 0:
        return ok("port", "any free one is taken")
    root = address(server.host, server.port)
    status, body = _get(f"{root}/healthz", {}, timeout_s)
    if status == 200 and b'"ok"' in body:
        return ok("port", f"a Millrace answers at {root}")
    if status is not None or _is_taken(server):
        return fail("port", f"something else answers at {root}", "stop it, or choose another port ([server] port, or --port)")
    # Here, because a whole HTTP server comes with it.
    from millrace.gateway.server import listen

    try:
        listen(server.host, server.port).close()
    except Refusal as refusal:
        return fail("port", refusal.sentence, "choose another host or port ([server], --host, --port)")
    return ok("port", f"{server.port} of {server.host} is free")


def limits(settings: Settings) -> Finding:
    # Here, because a whole HTTP server comes with it.
    from millrace.gateway.server import FILES_BESIDE, FILES_PER_CONNECTION

    most = settings.limits.connections_max
    return machine.open_files(FILES_PER_CONNECTION * most + FILES_BESIDE, most)


def telemetry(settings: Settings) -> Iterator[Finding]:
    """Where traces are asked for: whether the extra is there, and whether somebody listens."""
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None:
        return
    missing = machine.extras()[0].get("telemetry")
    if missing:
        yield fail("traces", f"{', '.join(missing)} is not installed", "pip install 'millrace[telemetry]'")
    elif _get(endpoint, {})[0] is None:
        yield warn("traces", f"nothing answers at {endpoint}", "start the collector, or take telemetry.otlp_endpoint out")
    else:
        yield ok("traces", f"sent to {endpoint}")


def tuning(place: Path | str, settings: Settings) -> Iterator[Finding]:
    """Where jobs wait to be tuned: whether this machine can, or why not."""
    if isinstance(place, Path) and not place.is_file():
        return
    with contextlib.suppress(Refusal), contextlib.closing(schema.connect(place)) as db:
        if db.read(schema_version) != len(schema.migrations(db.dialect)):
            return
        waiting = {job.model for job in db.read(store.open_jobs)}
        models = [one for one in settings.models if one.name in waiting]
        missing = sorted({name for one in models for name in missing_for(one, settings.tuning)})
        if missing:
            away = f"{remedy(missing)}, or run 'millrace tune worker' on a machine that has it"
            yield warn("tuning", f"jobs wait, and {', '.join(missing)} is not installed here", away)
        elif waiting:
            yield ok("tuning", f"jobs wait or run, of {', '.join(sorted(waiting))}")


def model(one: Model, environment: Mapping[str, str], where: str) -> Iterator[Finding]:
    """The weights of an embedded model and room for them; an answer of the server of a remote one."""
    check = _CHECKS[one.engine]
    yield from check(one, environment, where)


def _fake(one: Model, _environment: Mapping[str, str], _where: str) -> Iterator[Finding]:
    yield ok(f"model {one.name}", "a fake engine, for tests")


def _embedded(one: Model, _environment: Mapping[str, str], where: str) -> Iterator[Finding]:
    name = f"model {one.name}"
    assert one.path is not None
    try:
        check_weights(one, where)
        size = one.path.stat().st_size
    except Refusal as refusal:
        remedy = "put the GGUF file where the settings say" if one.pulled is None else f"pull {one.pulled} into this home"
        yield fail(name, refusal.sentence, f"{remedy}, or mend the settings")
        return
    yield ok(name, f"{one.path.name} is there")
    available = machine.memory_available()
    if available is not None:
        yield judge_memory(one.name, size, available)
    if one.threads is not None:
        yield judge_threads(one.name, one.threads, machine.cores())


def _remote(one: Model, environment: Mapping[str, str], _where: str) -> Iterator[Finding]:
    name = f"model {one.name}"
    key = environment.get(one.api_key_env or "")
    if one.api_key_env is not None and not key:
        yield fail(name, f"the environment variable {one.api_key_env} is not set", "set it to the key of the upstream server")
        return
    status, body = _get(f"{one.url}/models", {"Authorization": f"Bearer {key}"} if key else {})
    if status is None:
        yield fail(name, f"{one.url} cannot be reached", "start the server, or mend the model's url")
    elif status in (401, 403):
        yield fail(name, f"{one.url} refuses the key ({status})", "name the variable with the right key in api_key_env")
    elif status != 200:
        yield fail(name, f"{one.url}/models answers {status}", "see that the url ends where /models begins, such as in /v1")
    else:
        yield _listed(one, body)


_CHECKS: Final[dict[str, Callable[[Model, Mapping[str, str], str], Iterator[Finding]]]] = {
    "fake": _fake,
    "embedded": _embedded,
    "remote": _remote,
}


def _listed(one: Model, body: bytes) -> Finding:
    name = f"model {one.name}"
    try:
        names = [str(listed["id"]) for listed in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        return warn(name, f"{one.url}/models answers in no known form", "see whether it speaks the OpenAI API")
    if one.upstream not in names:
        return warn(
            name, f"{one.url} answers and does not list {one.upstream!r}", f"set upstream to one of: {', '.join(names[:10])}"
        )
    return ok(name, f"{one.url} serves {one.upstream}")


def _get(url: str, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> tuple[int | None, bytes]:
    """Status and body; no status where nobody answers."""
    try:
        with _DIRECT.open(Request(url, headers=dict(headers)), timeout=timeout_s) as answer:  # noqa: S310 - http or https
            return answer.status, answer.read(ANSWER_BYTES_MAX)
    except HTTPError as error:
        with error:
            return error.code, b""
    except (OSError, ValueError):
        return None, b""


def _is_taken(server: Server) -> bool:
    """Whether somebody accepts connections there, whatever he speaks."""
    try:
        socket.create_connection((server.host, server.port), timeout=TIMEOUT_S).close()
    except OSError:
        return False
    return True
