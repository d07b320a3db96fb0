"""The address that the pages show."""

from typing import Any

import pytest

from millrace.console.host import base_url


def scope(*, server: tuple[str, int | None] | None = ("127.0.0.1", 8000), **headers: str) -> dict[str, Any]:
    return {
        "type": "http", "scheme": "http", "server": server,
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }  # fmt: skip


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "models.example", "10.0.0.7:80", "[::1]:8000", "[fe80::1]", "a_b.internal:65535"]
)
def test_a_plain_host_is_shown(host: str) -> None:
    """A name or address with an optional port is taken as the browser sent it."""
    assert base_url(scope(host=host)) == f"http://{host}"


@pytest.mark.parametrize(
    "host",
    [
        "", "<script>alert(1)</script>", 'a"b', "a b", "a/b", "a@b", "a:0", "a:65536", "a:port", "a'; rm -rf ~; '",
        "$(id)", "`id`", "a\r\nset-cookie: x=y", "-a", "[::1", "a?b", "a#b", "x" * 300, "ümlaut",
    ],
)  # fmt: skip
def test_anything_else_is_not(host: str) -> None:
    """A Host header that is no plain host is not shown in part or in whole; the socket's own address is."""
    assert base_url(scope(host=host)) == "http://127.0.0.1:8000"


def test_no_host_at_all() -> None:
    """HTTP/1.0 without a Host header gets the socket's address, IPv6 in brackets, and a UNIX socket gets localhost."""
    assert base_url(scope()) == "http://127.0.0.1:8000"
    assert base_url(scope(server=("::1", 8000))) == "http://[::1]:8000"
    assert base_url(scope(server=None)) == "http://localhost"


@pytest.mark.parametrize(
    ("said", "scheme"), [("https", "https"), ("http", "http"), ("javascript", "http"), ("https, http", "http")]
)
def test_a_proxy_may_say_https(said: str, scheme: str) -> None:
    """x-forwarded-proto chooses between two words and can write no other."""
    assert base_url(scope(host="models.example", x_forwarded_proto=said)) == f"{scheme}://models.example"


def test_other_forwarding_headers_mean_nothing() -> None:
    """x-forwarded-host and forwarded, which any client can send, do not reach the page."""
    headers = scope(host="models.example", x_forwarded_host="evil.example", forwarded="host=evil.example")
    assert base_url(headers) == "http://models.example"
