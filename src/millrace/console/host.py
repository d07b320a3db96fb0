"""This server's address as the browser knows it: only to be shown, so a wrong one misleads nobody but its sender."""

import re
from typing import Final

from starlette.datastructures import Headers

from millrace.gateway.exchange import Scope

HOST_MAX: Final = 259
"""The longest DNS name, a colon and a port."""

_HOST: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_SCHEMES: Final = frozenset({"http", "https"})


def base_url(scope: Scope) -> str:
    """Such as 'http://127.0.0.1:8000', without a slash at the end.

    From the Host header when that is a plain host, else the socket's own address. `x-forwarded-proto` may say https,
    since a proxy that ends TLS is the usual way to have it; no other forwarding header is looked at.
    """
    headers = Headers(scope=scope)
    scheme = headers.get("x-forwarded-proto", scope.get("scheme", "http"))
    return f"{scheme if scheme in _SCHEMES else 'http'}://{_plain(headers.get('host', '')) or _own(scope)}"


def _plain(host: str) -> str | None:
    match = _HOST.fullmatch(host) if len(host) <= HOST_MAX else None
    return match and (int(match["port"] or 1) in range(1, 65_536) or None) and host


def _own(scope: Scope) -> str:
    name, port = scope.get("server") or ("localhost", None)
    shown = f"[{name}]" if ":" in name else name
    return shown if port is None else f"{shown}:{port}"
