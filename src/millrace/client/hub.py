"""Pushing a model to a Millrace cloud, and looking after what one published there.

A push asks what is missing, sends that in parts, and commits: all of it again from the beginning is safe at any moment, and
sends nothing twice. A part that fails in a way that may pass is begun again where the server says that it has come to; only
failures in a row without a byte count as attempts.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.client.access import Access
from millrace.client.refusals import ATTEMPTS_MAX, FIRST_WAIT_S, from_status, unreachable, wait_s
from millrace.wire.hub import BlobAnswer, CommitAnswer, CommitBody, MissingAnswer, MissingBody, PushedFile, RepositoryBody
from millrace.wire.json_body import encode

PART_BYTES: Final = 16 << 20
"""One request: what is sent again at most after a cut."""

ANSWER_BYTES_MAX: Final = 64 << 20

CONNECT_S: Final = 10.0

HASHED_PER_S: Final = 50_000_000
"""Bytes: how slow a server may be to check a file when its last part has come."""

SMALL_S: Final = 120.0

T = TypeVar("T")

Sent = Callable[[str, int], None]
"""Told of a file's path how many bytes of it are there more."""


class LocalFile(Struct, frozen=True, kw_only=True):
    """A file to push: what it will be called, and where it is here."""

    file: PushedFile
    at: Path


class HubClient:
    """Speaks for one key to one server. Use it as a context manager inside a running event loop."""

    def __init__(self, access: Access, *, clock: Clock, part_bytes: int = PART_BYTES) -> None:
        self._root = f"{access.root}/hub/api"
        self._clock = clock
        self._part_bytes = part_bytes
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {access.key}"}, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def make(self, name: str, visibility: str | None) -> Mapping[str, Any]:
        """The repository OWNER/NAME, made where there is none; with a visibility from now on that one's."""
        body = encode(RepositoryBody() if visibility is None else RepositoryBody(visibility=_visibility(visibility)))
        return await self._call("PUT", _model(name), body, dict[str, Any])

    async def push(self, name: str, files: Sequence[LocalFile], message: str, sent: Sent) -> CommitAnswer:
        """Send what is missing and commit. Raises CONFLICT where somebody else committed meanwhile."""
        listing = [one.file for one in files]
        places = {one.file.sha256: one for one in files}
        asked = encode(MissingBody(files=listing))
        standing = await self._call("POST", f"{_model(name)}/missing", asked, MissingAnswer)
        absent = {one.sha256: one.offset for one in standing.missing}
        for sha256, one in places.items():
            sent(one.file.path, absent.get(sha256, one.file.size))
        for sha256, offset in absent.items():
            await self._send(name, asked, places[sha256], offset, sent)
        body = encode(CommitBody(files=listing, parent=standing.head, message=message))
        return await self._call("POST", f"{_model(name)}/commit", body, CommitAnswer)

    async def list(self, search: str) -> list[Mapping[str, Any]]:
        """What the key may see, by name."""
        query = urlencode({"search": search, "limit": 1000})
        return list(await self._call("GET", f"/models?{query}", None, list[dict[str, Any]]))

    async def show(self, name: str) -> Mapping[str, Any]:
        """One with its files."""
        return await self._call("GET", f"{_model(name)}?blobs=true", None, dict[str, Any])

    async def remove(self, name: str) -> None:
        """With all its revisions."""
        await self._call("DELETE", _model(name), None, dict[str, Any])

    async def _send(self, name: str, asked: bytes, one: LocalFile, offset: int, sent: Sent) -> None:
        with one.at.open("rb") as opened:
            attempt = 0
            while True:
                try:
                    answer = await self._part(opened, one.file, offset)
                except Refusal as refusal:
                    attempt += 1
                    seconds = FIRST_WAIT_S if refusal.reason is Reason.CONFLICT else wait_s(refusal, attempt)
                    if seconds is None or attempt >= ATTEMPTS_MAX:
                        raise
                    await self._clock.sleep(seconds)
                    standing = await self._call("POST", f"{_model(name)}/missing", asked, MissingAnswer)
                    now = {item.sha256: item.offset for item in standing.missing}.get(one.file.sha256, one.file.size)
                else:
                    now, attempt = answer.offset, 0
                sent(one.file.path, now - offset)
                if now != offset:
                    attempt = 0
                offset = now
                if offset >= one.file.size:
                    return

    async def _part(self, opened: BinaryIO, file: PushedFile, offset: int) -> BlobAnswer:
        data = await asyncio.to_thread(_read, opened, offset, self._part_bytes)
        headers = {"upload-length": str(file.size), "upload-offset": str(offset)}
        last = offset + len(data) >= file.size
        seconds = SMALL_S + (file.size / HASHED_PER_S if last else 0)
        return await self._once("PATCH", f"/blobs/{file.sha256}", data, BlobAnswer, headers, seconds)

    async def _call(self, method: str, path: str, body: bytes | None, kind: type[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(method, path, body, kind, {"content-type": "application/json"}, SMALL_S)
            except Refusal as refusal:
                seconds = wait_s(refusal, attempt)
                if seconds is None:
                    raise
                await self._clock.sleep(seconds)

    async def _once(
        self, method: str, path: str, body: bytes | None, kind: type[T], headers: Mapping[str, str], seconds: float
    ) -> T:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=seconds)
        try:
            async with self._session.request(
                method, self._root + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answer = await response.content.read(ANSWER_BYTES_MAX)
                while more := await response.content.read(ANSWER_BYTES_MAX - len(answer)):
                    answer += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self._root, f"broke the connection or cannot be reached ({type(error).__name__})") from None
        if response.status not in (200, 201):
            raise from_status(response.status, answer, response.headers.get("retry-after"), self._root)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError:
            raise Refusal(Reason.ENGINE_FAILED, f"what {self._root} answers is not of a hub; is it a Millrace?") from None


def _model(name: str) -> str:
    return f"/models/{quote(name)}"


def _visibility(text: str) -> Any:
    return text


def _read(opened: BinaryIO, at: int, count: int) -> bytes:
    opened.seek(at)
    return opened.read(count)
