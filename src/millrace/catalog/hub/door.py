"""HTTP to a source: redirects followed by hand, so that a token goes to its own origin only, and failures sorted.

`Passing` is what may be gone when one tries again (cut, silent, 429, 5xx); a Refusal is what will not. No sentence has a
token or the query of an address in it. Proxies come from the environment (HTTPS_PROXY, NO_PROXY) as everybody's do; what
`.netrc` has for a host is not sent there.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp
from msgspec import Struct

from millrace.base.errors import Reason, Refusal

USER_AGENT: Final = "millrace"

REDIRECTS_MAX: Final = 10
LISTING_BYTES_MAX: Final = 64 << 20
"""A list of 100,000 files has some 20 MB."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PORTS: Final = {"http": 80, "https": 443}


class Patience(Struct, frozen=True, kw_only=True):
    """How long a source is tried. Seconds."""

    attempts: int = 6
    """In a row without a single byte more."""
    connect_s: float = 15
    silent_s: float = 60
    """Without a byte, then the connection counts as cut."""
    first_wait_s: float = 1
    """Doubled after each failure."""
    wait_s_max: float = 300
    """A source that asks for more is told of instead."""


class Passing(Exception):
    """It failed, and may not next time."""

    def __init__(self, sentence: str, *, wait_s: float | None = None, offline: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.wait_s = wait_s
        """What the source asked for."""
        self.offline = offline
        """It was not reached at all."""


class Refused(Exception):
    """The source said no, for good. The caller knows what for, and says so."""

    def __init__(self, status: int, code: str, at: str) -> None:
        super().__init__(f"{at} answered {status} {code}")
        self.status = status
        self.code = code
        """Its own word for it (X-Error-Code), or nothing."""
        self.at = at


class Answer(Struct, frozen=True, kw_only=True):
    """An answer whose body has not been read."""

    status: int
    url: str
    """Where it came from in the end."""
    headers: Mapping[str, str]
    linked_sha256: str | None
    """What a hub said of the content when it sent us elsewhere for it (X-Linked-Etag), where that is a SHA-256."""
    body: aiohttp.StreamReader


class Door:
    """A context manager. `credentials` are headers for `origin` and no other."""

    def __init__(
        self, origin: str, credentials: Mapping[str, str], environment: Mapping[str, str], patience: Patience
    ) -> None:
        self._origin = origin_of(origin)
        self._credentials = credentials
        self._proxies = proxies_of(environment)
        self.patience: Final = patience
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.patience.connect_s, sock_read=self.patience.silent_s),
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def read(self, url: str) -> bytes:
        """The whole body of an answer of moderate size. Raises Passing and Refused."""
        async with self.get(url, {}) as answer:
            body = bytearray()
            async for chunk in answer.body.iter_any():
                body += chunk
                if len(body) > LISTING_BYTES_MAX:
                    raise Refusal(Reason.NOT_FOUND, f"{shown(answer.url)} answers with more than {LISTING_BYTES_MAX} bytes")
            return bytes(body)

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """An answer of 200 or 206; what it takes to read its body is inside too. Raises Passing and Refused."""
        try:
            response, at, linked = await self._follow(url, headers)
            try:
                yield Answer(
                    status=response.status, url=at, headers=response.headers, linked_sha256=linked, body=response.content
                )
            finally:
                response.close()
        except aiohttp.ClientConnectorError as error:
            raise Passing(f"{_host(url)} cannot be reached ({_why(error)})", offline=True) from None
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise Passing(f"{_host(url)} broke the connection ({type(error).__name__})") from None
        except TimeoutError:
            raise Passing(f"{_host(url)} was silent for {self.patience.silent_s:g} s") from None

    async def _follow(self, url: str, headers: Mapping[str, str]) -> tuple[aiohttp.ClientResponse, str, str | None]:
        linked = None
        for _ in range(REDIRECTS_MAX):
            response = await self._send(url, headers)
            if response.status not in REDIRECTS:
                self._refuse(response, url)
                return response, url, linked
            linked = linked_sha256(response.headers) or linked
            target = urljoin(url, response.headers.get("Location", ""))
            response.release()
            url = _redirected(url, target)
        raise Refusal(Reason.NOT_FOUND, f"{shown(url)} redirects more than {REDIRECTS_MAX} times")

    async def _send(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the door is not open")
        own = self._credentials if origin_of(url) == self._origin else {}
        proxy = proxy_for(url, self._proxies)
        return await self._session.get(url, headers={**headers, **own}, allow_redirects=False, proxy=proxy)

    def _refuse(self, response: aiohttp.ClientResponse, url: str) -> None:
        status, asked = response.status, _retry_after(response.headers)
        if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT) and not response.headers.get("Content-Encoding"):
            return
        response.close()
        if status not in PASSING:
            raise Refused(status, response.headers.get("X-Error-Code", "")[:60], shown(url))
        if asked is not None and asked > self.patience.wait_s_max:
            raise Refusal(
                Reason.RATE_LIMIT_EXCEEDED, f"{_host(url)} allows no more requests for {asked} s (status {status}); pull again "
                "then, what is here is kept",
            )  # fmt: skip
        raise Passing(f"{_host(url)} answered {status}", wait_s=asked)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, which together are whom a token is for."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port or _PORTS.get(parts.scheme, 0)


def proxies_of(environment: Mapping[str, str]) -> dict[str, str]:
    """By scheme ('http', 'https', 'all'), and 'no' for where none is used. Raises BAD_SETTING for another kind of proxy."""
    proxies = {}
    for name, value in environment.items():
        kind, _, suffix = name.lower().rpartition("_")
        if suffix == "proxy" and kind in ("http", "https", "all", "no") and value:
            if kind != "no" and urlsplit(value).scheme != "http":
                raise Refusal(Reason.BAD_SETTING, f"{name} is not the address of an HTTP proxy such as http://proxy:3128")
            proxies[kind] = value
    return proxies


def proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy on the way to an address, None where there is none."""
    parts = urlsplit(url)
    direct = [entry.strip().lstrip(".") for entry in proxies.get("no", "").split(",")]
    names = (parts.hostname or "", parts.netloc)
    if any(entry == "*" or (entry and (entry in names or names[0].endswith(f".{entry}"))) for entry in direct):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def shown(url: str) -> str:
    """An address as it may be shown: without its query, which may be a signature."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def linked_sha256(headers: Mapping[str, str]) -> str | None:
    """The SHA-256 of the content that a hub's redirect tells, if it tells one."""
    tag = headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()
    return tag if len(tag) == 64 and set(tag) <= set("0123456789abcdef") else None


def _redirected(before: str, after: str) -> str:
    """Where a redirect leads, if one may go there."""
    source, target = urlsplit(before), _split(after)
    if target is None or target.scheme not in _PORTS or not target.hostname:
        raise Refusal(Reason.NOT_FOUND, f"{shown(before)} redirects to what is no address of the web")
    if source.scheme == "https" and target.scheme == "http":
        raise Refusal(Reason.NOT_FOUND, f"{shown(before)} redirects to {target.hostname} without encryption; that is refused")
    return after


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Seconds; a date, which needs the source's clock to be ours, is not heeded."""
    text = headers.get("Retry-After", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _why(error: aiohttp.ClientConnectorError) -> str:
    return error.os_error.strerror or str(error.os_error) or type(error.os_error).__name__
