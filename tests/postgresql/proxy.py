"""A wire between us and the server that can be cut at a COMMIT: before it arrives, or before its answer does."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final, Literal

COMMIT: Final = b"COMMIT\0"

Cut = Literal["before the question", "before the answer"]


class Proxy:
    """Forwards connections to a port of the loopback. `cut` is what happens to the next COMMIT, once.

    `meanwhile` is called when it has happened, before the client notices.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.cut: Cut | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return
        silent, answered = threading.Event(), threading.Event()
        threading.Thread(target=_answers, args=(server, client, silent, answered), daemon=True).start()
        try:
            while data := client.recv(65536):
                if self.cut is not None and COMMIT in data:
                    self._cut(client, server, data, silent, answered)
                    return
                server.sendall(data)
        except OSError:
            return
        finally:
            _end(server)

    def _cut(
        self, client: socket.socket, server: socket.socket, data: bytes, silent: threading.Event, answered: threading.Event
    ) -> None:
        how, self.cut = self.cut, None
        silent.set()
        if how == "before the answer":
            server.sendall(data)
            answered.wait(5)
        _end(server)
        self.meanwhile()
        _end(client)


def _answers(
    server: socket.socket, client: socket.socket, silent: threading.Event, answered: threading.Event
) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            if silent.is_set():
                answered.set()
            else:
                client.sendall(data)
    if not silent.is_set():
        _end(client)


def _end(end: socket.socket) -> None:
    """Closed for both sides, also where a thread still reads from it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
