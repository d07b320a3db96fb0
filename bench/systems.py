"""The systems that a gateway bench compares, all up at once and paused but the one that is measured.

Each offers the same three models, and each model is a fake upstream of its own: `instant` answers at once, `spaced` makes a
token every millisecond, `paced` one every 20 ms. Gateways share one core; upstreams and whoever asks share the other.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bench import grounds, peers
from bench.processes import Child, free_port, running

TOKENS: Final = 20
PACED_TOKENS: Final = 64
MODELS: Final = {
    "instant": ["--tokens", str(TOKENS)],
    "spaced": ["--tokens", str(TOKENS), "--token-delay-ms", "1"],
    "paced": ["--tokens", str(PACED_TOKENS), "--token-delay-ms", "20"],
}
"""Model names, and how their upstream behaves."""

MILLRACE: Final = "millrace"
PASS_THROUGH: Final = "pass-through"  # noqa: S105 - no password
LITELLM: Final = "litellm"
PORTKEY: Final = "portkey"
AGAINST: Final = "other millrace"
ON_POSTGRESQL: Final = "millrace on postgresql"
WITH_WORKERS: Final = "millrace with workers"
DIRECT: Final = "direct"

SETTLING_S: Final = 0.3

_LIMITS: Final = """\
[limits]
connections_max = 10000
requests_in_flight_max = 4096
requests_in_flight_per_key_max = 4096

[logs]
requests = {logs}
"""

_PRICE: Final = """\
[[prices]]
model = "{name}"
currency = "CNY"
input = "0.8"
cached_input = "0.16"
output = "2.0"
"""


class Cores(Struct, frozen=True):
    """Which core the system under test has, and which ones the rest."""

    gateway: int
    others: tuple[int, ...]


class System(Struct, frozen=True):
    """Somewhere to send requests: what is measured, or, as `direct`, the upstream itself."""

    name: str
    ports: dict[str, int]
    """By model."""
    key: str
    child: Child | None = None
    further: Mapping[str, Mapping[str, str]] = {}
    """Headers that tell it where a model is, by model."""

    def body(self, model: str, *, stream: bool) -> bytes:
        """The same for all systems: a short chat."""
        asked: dict[str, object] = {
            "model": model, "max_tokens": PACED_TOKENS, "stream": stream,
            "messages": [
                {"role": "system", "content": "You are the assistant of a small shop for kitchen things."},
                {"role": "user", "content": "Which of the kettles is the quietest, and is it there before Friday?"},
            ],
        }  # fmt: skip
        return msgspec.json.encode(asked)

    def headers(self, model: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **self.further.get(model, {})}

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """On the processor for the length of the block, with a moment before it to see which connections were closed meanwhile,
        and one after it to finish what was begun.
        """
        if self.child is not None:
            self.child.resume()
            time.sleep(SETTLING_S)
        try:
            yield
        finally:
            if self.child is not None:
                time.sleep(SETTLING_S)
                self.child.pause()


def cores() -> Cores:
    """The last core for the system under test, so that it stays off the first, where interrupts tend to be."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[-1], tuple(usable[:-1]) or (usable[-1],))


@contextlib.contextmanager
def systems(
    names: Sequence[str],
    folder: Path,
    where: Cores,
    *,
    litellm_version: str = peers.LITELLM,
    against: Path | None = None,
    workers: int = 1,
    logs: bool = False,
) -> Iterator[list[System]]:
    """The named systems in that order, with `direct` before them. All of it is stopped at the end of the block."""
    with contextlib.ExitStack() as stack:
        upstreams = {name: stack.enter_context(_upstream(name, folder, where)) for name in MODELS}
        found = [System(DIRECT, upstreams, "none")]
        for name in names:
            if name in (MILLRACE, AGAINST, ON_POSTGRESQL, WITH_WORKERS):
                settings = _LIMITS.format(logs=str(logs).lower())
                if name == ON_POSTGRESQL:
                    settings += f'[store]\nurl = "{stack.enter_context(_postgres(where))}"\n'
                found.append(stack.enter_context(_millrace(
                    upstreams, folder, where, name, source=against if name == AGAINST else None, settings=settings,
                    workers=workers if name == WITH_WORKERS else 1,
                )))  # fmt: skip
            elif name == PASS_THROUGH:
                found.append(stack.enter_context(_pass_through(upstreams, folder, where)))
            elif name == PORTKEY:
                found.append(stack.enter_context(_portkey(upstreams, folder, where)))
            else:
                found.append(stack.enter_context(_litellm(upstreams, folder, where, litellm_version)))
            if (child := found[-1].child) is not None:
                child.pause()
        yield found


def audit(home: Path) -> str:
    """What `millrace audit` says of the books after all that, in a sentence."""
    said = msgspec.json.decode(run_cli(home, "audit", "--json"))
    failed = [check["name"] for check in said["checks"] if not check["ok"]]
    if failed:
        return f"Books after the run: NOT in order: {', '.join(failed)}"
    return f"Books after the run: in order by all {len(said['checks'])} checks of millrace audit"


def home_of(folder: Path, name: str = MILLRACE) -> Path:
    return folder / f"home-{name.replace(' ', '-')}"


@contextlib.contextmanager
def _upstream(name: str, folder: Path, where: Cores) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "millrace.engines.fake.server", "--port", str(port), *MODELS[name]]
    with running(f"upstream {name}", command, cores=where.others, folder=folder) as child:
        child.wait_for(port, "/health", {})
        yield port


@contextlib.contextmanager
def _postgres(where: Cores) -> Iterator[str]:
    """The URL of an empty database; its server shares the cores of the upstream."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where.others)
    with grounds.server() as server:
        os.sched_setaffinity(0, ours)
        if server is None:
            raise SystemExit("PostgreSQL's programs are missing; on Debian: apt install postgresql")
        yield server.url(server.new_database())


@contextlib.contextmanager
def _millrace(
    upstreams: dict[str, int], folder: Path, where: Cores, name: str, *, source: Path | None, settings: str, workers: int
) -> Iterator[System]:
    """A prepaid tenant with one grant, and a key with limits that are never met; of another checkout's src, if one is given.

    Several workers have all cores, and share them with everybody else.
    """
    home, port = home_of(folder, name), free_port()
    home.mkdir()
    models = "".join(
        f'[[models]]\nname = "{model}"\nengine = "remote"\nurl = "http://127.0.0.1:{upstream}/v1"\nupstream = "fake"\n'
        f"context_tokens = 32768\nmax_output_tokens = 4096\nslots = 2048\n{_PRICE.format(name=model)}"
        for model, upstream in upstreams.items()
    )
    (home / "millrace.toml").write_text(settings + models, encoding="utf-8")
    run_cli(home, "tenant", "create", "bench")
    run_cli(home, "grant", "create", "--tenant", "bench", "--amount", "1000000.00")
    made = run_cli(home, "key", "create", "--tenant", "bench", "--rpm", "1000000000", "--tpm", "1000000000000", "--json")
    key = msgspec.json.decode(made)["key"]
    command = [sys.executable, "-m", "millrace.cli.main", "up", "--home", str(home), "--port", str(port)]
    command += ["--workers", str(workers)] if workers > 1 else []
    environment = {} if source is None else {"PYTHONPATH": str(source.resolve())}
    cores = [where.gateway] if workers == 1 else sorted({where.gateway, *where.others})
    with running(name, command, cores=cores, folder=folder, environment=environment) as child:
        child.wait_for(port, "/readyz", {})
        yield System(name, dict.fromkeys(upstreams, port), key, child)


@contextlib.contextmanager
def _pass_through(upstreams: dict[str, int], folder: Path, where: Cores) -> Iterator[System]:
    port, key = free_port(), "mr_bench"
    models = [f"--model={name}=http://127.0.0.1:{upstream}/v1" for name, upstream in upstreams.items()]
    command = [sys.executable, "-m", "bench.passthrough", "--port", str(port), "--key", key, *models]
    with running(PASS_THROUGH, command, cores=[where.gateway], folder=folder) as child:
        child.wait_for(port, "/healthz", {})
        yield System(PASS_THROUGH, dict.fromkeys(upstreams, port), key, child)


@contextlib.contextmanager
def _litellm(upstreams: dict[str, int], folder: Path, where: Cores, version: str) -> Iterator[System]:
    """One worker, a master key, no database, nothing logged: the fastest that it is without its books."""
    port, key = free_port(), "sk-bench"
    config = folder / "litellm.yaml"
    models = "".join(
        f"  - model_name: {name}\n    litellm_params:\n      model: openai/fake\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none\n"
        for name, upstream in upstreams.items()
    )
    settings = f"general_settings:\n  master_key: {key}\nlitellm_settings:\n  set_verbose: false\n  num_retries: 0\n"
    config.write_text(f"model_list:\n{models}{settings}", encoding="utf-8")
    command = [
        str(peers.litellm(version) / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        "--num_workers", "1", "--telemetry", "False",
    ]  # fmt: skip
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    with running(LITELLM, command, cores=[where.gateway], folder=folder, environment=environment) as child:
        child.wait_for(port, "/health/liveliness", {"Authorization": f"Bearer {key}"})
        yield System(LITELLM, dict.fromkeys(upstreams, port), key, child)


@contextlib.contextmanager
def _portkey(upstreams: dict[str, int], folder: Path, where: Cores) -> Iterator[System]:
    """One process without its page of logs. It checks no key of its own: it is told by headers where a request goes."""
    port = free_port()
    command = [*peers.portkey(), f"--port={port}", "--headless"]
    further = {
        model: {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
        for model, upstream in upstreams.items()
    }
    with running(PORTKEY, command, cores=[where.gateway], folder=folder, environment={"NODE_ENV": "production"}) as child:
        child.wait_for(port, "/", {})
        yield System(PORTKEY, dict.fromkeys(upstreams, port), "none", child, further)


def run_cli(home: Path, *arguments: str) -> str:
    """What a command of `millrace` prints. Raises RuntimeError with its sentence where it refuses."""
    command = [sys.executable, "-m", "millrace.cli.main", *arguments, "--home", str(home)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode and not done.stdout:
        raise RuntimeError(f"millrace {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
