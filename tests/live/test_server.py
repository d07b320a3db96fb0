"""The HTTP server on real sockets: its bounds, and an end that settles what runs."""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.races.cloud import Cloud, Stream, Upstream

LIMITS = """
[limits]
header_bytes_max = 2048
header_timeout_s = 1
body_timeout_s = 1
body_bytes_max = 4096
connections_max = 20
drain_s = 1
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud with tight limits in front of a slow upstream."""
    with Upstream("--tokens", "2000", "--token-delay-ms", "20") as upstream:
        made = Cloud(tmp_path / "home", upstream)
        with (made.home / "millrace.toml").open("a") as settings:
            settings.write(LIMITS)
        made.start()
        try:
            yield made
        finally:
            if made.process is not None:
                made.kill()


def exchange(server: Cloud, data: bytes) -> bytes:
    """Send bytes and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_the_head_of_a_request_is_bounded_in_bytes_and_time(server: Cloud) -> None:
    """A head that is too large is 431, one that does not come is 408, nonsense is 400; each closes the connection."""
    large = exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"a" * 4096 + b"\r\n\r\n")
    assert large.startswith(b"HTTP/1.1 431 ")
    assert b"headers_too_large" in large
    assert exchange(server, b"GET /healthz HTTP/1.1\r\nHost:").startswith(b"HTTP/1.1 408 ")
    assert exchange(server, b"").startswith(b"HTTP/1.1 408 ")
    nonsense = exchange(server, b"\x16\x03\x01 hello\r\n\r\n")
    assert nonsense.startswith(b"HTTP/1.1 400 ")
    assert b"invalid_http" in nonsense


def test_a_line_break_between_requests_keeps_no_connection(server: Cloud) -> None:
    """What is no request yet ends the wait for the next one: it may take as long as a head and no longer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_the_body_of_a_request_is_bounded_in_bytes_and_time(server: Cloud) -> None:
    """A body that is too large is 413 before it is read, one that does not come is 408."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n".encode()
    assert exchange(server, head + b"Content-Length: 99999\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert exchange(server, head + b"Content-Length: 100\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
    chunks = b"1000\r\n" + b"x" * 4096 + b"\r\n10\r\n" + b"x" * 16 + b"\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    assert exchange(server, chunked).startswith(b"HTTP/1.1 413 ")


def test_connections_are_bounded(server: Cloud) -> None:
    """The connection above the bound is told so with 429, and the others go on."""
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    try:
        deadline = time.monotonic() + 10
        while not (refused := exchange(server, b"")).startswith(b"HTTP/1.1 429 "):
            assert time.monotonic() < deadline, refused
    finally:
        for connection in held:
            connection.close()
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    client.request("GET", "/healthz")
    assert client.getresponse().status == 200
    client.close()


def test_a_stopping_server_settles_its_streams_and_leaves_no_process(server: Cloud) -> None:
    """On SIGTERM a running stream ends with an error event, billed to the token it got; the exit code is 0."""
    stream = Stream(server, 2000)
    running = threading.Thread(target=asyncio.run, args=(stream.run(None),))
    running.start()
    deadline = time.monotonic() + 20
    while stream.tokens < 10:
        assert time.monotonic() < deadline
    assert server.stop() == 0
    running.join(20)
    assert not running.is_alive()
    assert not stream.finished
    receipt = server.command("receipt", stream.request_id)
    assert receipt["tokens"]["output"] == stream.tokens
    assert receipt["tokens"]["waived"] == 0
    assert server.command("audit")["ok"]
    assert server.command("balance", "--tenant", "demo")["held"] == "0.000000000"
