"""From a home to a running server: settings, lock, port, books, first tenant, engines; a refusal leaves nothing behind."""

import asyncio
import contextlib
import logging
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop
from msgspec.structs import replace

from millrace import schema, wiring
from millrace.bootstrap import FirstKey, bootstrap
from millrace.cli.announcement import Announcement, ServedModel, address, render_announcement, render_recovery
from millrace.cli.output import Text
from millrace.cli.shell import Shell
from millrace.gateway.server import SIGNALS, listen
from millrace.settings.home import Home, default_home
from millrace.settings.parse import Settings
from millrace.tenants import store as tenants

_log = logging.getLogger("millrace.up")


def serve_home(shell: Shell, host: str | None, port: int | None) -> None:
    """Serve the shell's home until SIGTERM or SIGINT. Raises a Refusal when it cannot be served."""
    settings = shell.settings()
    host = settings.server.host if host is None else host
    port = settings.server.port if port is None else port
    with _taken(shell.home_path) as home, contextlib.closing(listen(host, port)) as listener:
        server = replace(settings.server, host=host, port=listener.getsockname()[1])
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
    with contextlib.closing(schema.open_database(settings.store.path(home.path))) as db:
        for note in db.write_now(lambda tx: wiring.import_prices(tx, settings.prices, shell.clock.now())):
            _log.warning("%s", note)
        cloud = wiring.Cloud(home, settings, db)
        first = bootstrap(db, shell.clock)
        tenant = first.tenant if first else db.read(tenants.tenants)[0].name

        def ready() -> None:
            try:
                _announce(shell, cloud, first, tenant)
            except OSError as error:  # whoever started us may have stopped reading; we serve all the same
                _log.warning("nobody reads what a start has to say: %s", error)
            except Exception:  # noqa: BLE001 - a bug in what is printed must be seen, and is no reason to serve nobody
                _log.exception("the start could not be announced")

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(cloud, listener, ready))
    _log.info("stopped: every request is settled and every engine has ended")


async def _serve(cloud: wiring.Cloud, listener: socket.socket, ready: Callable[[], None]) -> None:
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


def _announce(shell: Shell, cloud: wiring.Cloud, first: FirstKey | None, tenant: str) -> None:
    recovered = render_recovery(cloud.books.recovery)
    if recovered:
        _log.warning("%s", recovered)
    root = address(cloud.settings.server.host, cloud.settings.server.port)
    said = Announcement(
        base_url=f"{root}/v1",
        page=f"{root}/",
        key=str(first.secret) if first else None,
        key_command=_key_command(shell.home_path, tenant),
        tenant=tenant,
        models=tuple(ServedModel(name, engine.state.value, engine.failure) for name, engine in cloud.engines.items()),
    )
    shell.show(said.form(), Text(render_announcement(said)))
    sys.stdout.flush()


def _key_command(home: Path, tenant: str) -> str:
    elsewhere = "" if home == default_home(os.environ) else f" --home {shlex.quote(str(home))}"
    return f"millrace key create --tenant {tenant}{elsewhere}"
