"""The HTTP server: a socket that is ours before anything else starts, signals, and an end that leaves nothing half done."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import Generator
from typing import Final

import uvicorn

from millrace.base.errors import Reason, Refusal
from millrace.gateway.accepting import OneByOne, Tally
from millrace.gateway.connection import bounded
from millrace.gateway.exchange import App
from millrace.gateway.inference import Inference
from millrace.gateway.observer import Observer
from millrace.settings.limits import Limits

BACKLOG: Final = 2048
"""Connections that wait to be accepted: as many as uvicorn's default; the kernel caps it by net.core.somaxconn."""

CLOSE_S: Final = 5
"""After every request is settled: how long clients may take to read what was sent and close."""

FILES_PER_CONNECTION: Final = 2
"""The client's and the engine's."""

FILES_BESIDE: Final = 256
"""Database, journal, logs, children, and what libraries hold open."""

COLLECT_AFTER: Final = (20_000, 20, 20)
"""Python's own (700, 10, 10) looks for unreachable cycles some times in each request, for 8 % of the processor time; few of
our objects are in cycles, so memory stays where it is."""

_log = logging.getLogger("millrace.gateway")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def listen(host: str, port: int) -> socket.socket:
    """Take the address; port 0 takes a free one. Raises CONFLICT where another has it, BAD_SETTING for an impossible one."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise Refusal(Reason.BAD_SETTING, f"host {host!r} cannot be listened on: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Refusal(
            Reason.CONFLICT,
            f"port {port} of {host} cannot be used: {error.strerror}; stop what uses it or choose another with --port",
        ) from error
    return listener


def allow_open_files(limits: Limits) -> None:
    """Raise the process's soft limit of open files to what its connections need; many systems start at 1,024."""
    needed = FILES_PER_CONNECTION * limits.connections_max + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        _log.warning(
            "the system allows this process %d open files, and limits.connections_max = %d may need %d: raise 'ulimit -n'",
            most, limits.connections_max, needed,
        )  # fmt: skip


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: ours drain first. With a `tally` its socket is shared, and taken from one by one."""

    def __init__(self, config: uvicorn.Config, tally: Tally | None) -> None:
        super().__init__(config)
        self._tally = tally

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tally = self._tally
        await super().startup(sockets if tally is None else [])
        if tally is not None:
            count = self.server_state.connections.__len__
            self.servers += [OneByOne(each, self._protocol, tally, count) for each in sockets or ()]  # type: ignore[misc]

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    app: App,
    listener: socket.socket,
    inference: Inference,
    limits: Limits,
    observer: Observer,
    tally: Tally | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain: a second signal ends the running requests at once, settled all the same.

    With a `tally` other processes accept from the same socket.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=bounded(limits, observer.unread),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.keep_alive_s),
            timeout_graceful_shutdown=CLOSE_S,
        ),
        tally,
    )
    allow_open_files(limits)
    _collect_rarely()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        if stop.is_set():
            inference.end_all()
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, asked_to_stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await inference.drain(limits.drain_s)
    finally:
        server.should_exit = True
        stopping.cancel()
        await serving
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _collect_rarely() -> None:
    """What was made until now stays as long as the process does: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
