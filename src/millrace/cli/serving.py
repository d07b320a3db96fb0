"""From a home to a running server: settings, lock, port, books, first tenant, engines; a refusal leaves nothing behind."""

import asyncio
import contextlib
import logging
import os
import shlex
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import uvloop
from msgspec.structs import replace

from millrace import schema, wiring
from millrace.bootstrap import FirstKey, bootstrap
from millrace.cli.announcement import Announcement, ServedModel, address, render_announcement, render_recovery
from millrace.cli.logs import log_to_stderr
from millrace.cli.output import Text
from millrace.cli.shell import Shell
from millrace.gateway.server import SIGNALS, listen
from millrace.settings.home import Home, default_home
from millrace.settings.parse import Settings
from millrace.settings.pulled import in_use
from millrace.store.once import write_once
from millrace.tenants import store as tenants
from millrace.workers.crew import Crew
from millrace.workers.messages import ModelState

_log = logging.getLogger("millrace.up")


def serve_home(shell: Shell, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve the shell's home until SIGTERM or SIGINT. Raises a Refusal when it cannot be served."""
    settings = shell.settings()
    log_to_stderr(settings.logs)
    host = settings.server.host if host is None else host
    port = settings.server.port if port is None else port
    workers = settings.server.workers if workers is None else workers
    taken = _taken(shell.home_path)
    with taken as home, in_use(home.path, settings.models), contextlib.closing(listen(host, port)) as listener:
        server = replace(settings.server, host=host, port=listener.getsockname()[1], workers=workers)
        _serve_from(shell, home, replace(settings, server=server), listener)


@contextlib.contextmanager
def _taken(path: Path) -> Iterator[Home]:
    """The home, locked. One that was made for this and has nothing but its lock in the end is taken away again."""
    made = not path.exists()
    home = Home(path)
    with home.occupy():
        try:
            yield home
        finally:
            left = list(home.path.iterdir())
            if made and len(left) == 1 and left[0].suffix == ".lock":
                left[0].unlink()
                home.path.rmdir()


def _serve_from(shell: Shell, home: Home, settings: Settings, listener: socket.socket) -> None:
    with contextlib.closing(schema.open_database(settings.store.place(home.path))) as db:
        for note in write_once(db, lambda tx: wiring.import_prices(tx, settings.prices, shell.clock.now())):
            _log.warning("%s", note)
        first = bootstrap(db, shell.clock)
        tenant = first.tenant if first else db.read(tenants.tenants)[0].name
        if settings.server.workers == 1:
            cloud = wiring.Cloud(home, settings, db)

            def ready() -> None:
                warn_of_recovery(cloud)
                _announce(shell, settings, first, tenant, model_states(cloud))

            run_until_told(serve_cloud(cloud, listener, ready))
    if settings.server.workers > 1:
        crew = wiring.crew(home, settings, listener)
        run_until_told(_serve_crew(crew, lambda models: _announce(shell, settings, first, tenant, models)))
    _log.info("stopped: every request is settled and every engine has ended")


def run_until_told(serving: Coroutine[Any, Any, None]) -> None:
    """On the event loop of a server."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


def warn_of_recovery(cloud: wiring.Cloud) -> None:
    """What the books put right when they were opened."""
    recovered = render_recovery(cloud.books.recovery)
    if recovered:
        _log.warning("%s", recovered)


def model_states(cloud: wiring.Cloud) -> tuple[ModelState, ...]:
    """How the models' engines stand now."""
    return tuple(ModelState(name, engine.state.value, engine.failure) for name, engine in cloud.engines.items())


async def _serve_crew(crew: Crew, ready: Callable[[tuple[ModelState, ...]], None]) -> None:
    """Serve with workers. A signal ends them in good order at any time, a second one hastens them."""
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, crew.stop)
    await crew.serve(ready)


async def serve_cloud(cloud: wiring.Cloud, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve. Until the server is up and takes the signals over, the first of them ends the start in good order."""
    loop = asyncio.get_running_loop()
    serving = loop.create_task(cloud.serve(listener, ready))

    def stop() -> None:
        if not serving.cancelling():
            serving.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not serving.cancelling():
            raise


def _announce(
    shell: Shell, settings: Settings, first: FirstKey | None, tenant: str, models: tuple[ModelState, ...]
) -> None:
    root = address(settings.server.host, settings.server.port)
    said = Announcement(
        base_url=f"{root}/v1",
        page=f"{root}/",
        key=str(first.secret) if first else None,
        key_command=_key_command(shell.home_path, tenant),
        tenant=tenant,
        models=tuple(ServedModel(model.name, model.state, model.failure) for model in models),
    )
    try:
        shell.show(said.form(), Text(render_announcement(said)))
        sys.stdout.flush()
    except OSError as error:  # whoever started us may have stopped reading; we serve all the same
        _log.warning("nobody reads what a start has to say: %s", error)
    except Exception:  # noqa: BLE001 - a bug in what is printed must be seen, and is no reason to serve nobody
        _log.exception("the start could not be announced")


def _key_command(home: Path, tenant: str) -> str:
    elsewhere = "" if home == default_home(os.environ) else f" --home {shlex.quote(str(home))}"
    return f"millrace key create --tenant {tenant}{elsewhere}"
