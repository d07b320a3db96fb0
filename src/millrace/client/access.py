"""Where a server is and which key opens it, from what people write; pure."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from millrace.base.errors import Reason, Refusal

VARIABLES: Final = ("MILLRACE_API_KEY", "OPENAI_API_KEY")
"""Where a key is looked for, in this order."""

_KEY: Final = re.compile(r"[!-~]{1,512}")


class Access:
    """An address and a key. The key is in nothing that is printed."""

    def __init__(self, url: str, key: str) -> None:
        self.root = parse_root(url)
        if not _KEY.fullmatch(key):
            raise Refusal(Reason.INVALID_API_KEY, "the API key is empty, too long, or has blanks or control characters in it")
        self.key = key

    def __repr__(self) -> str:
        return f"Access({self.root!r})"


def parse_root(url: str) -> str:
    """'http://host:8000/v1/' → 'http://host:8000'. Refuses what is no HTTP address, and one with a password in it."""
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or parts.query or parts.fragment or parts.username is not None or not url.isprintable():
        raise Refusal(
            Reason.INVALID_REQUEST, "the address is not one such as http://127.0.0.1:8000 or https://cloud.example/v1",
            param="url",
        )
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def key_from(environment: Mapping[str, str]) -> str:
    """The key of the first variable that is set. Raises INVALID_API_KEY where none is."""
    found = next((environment[name] for name in VARIABLES if environment.get(name)), None)
    if found is None:
        raise Refusal(Reason.INVALID_API_KEY, f"there is no API key: set {VARIABLES[0]} (or {VARIABLES[1]}) to one")
    return found
