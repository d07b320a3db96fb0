"""A hub on real sockets, for tests and for trying things out: what Hugging Face, ModelScope and a Millrace cloud speak.

Files that Git keeps apart (weights) lie on a second port, as on a content network: the hub redirects there with
X-Linked-Etag, X-Linked-Size and X-Repo-Commit, and knows the network's answers by a strong ETag. Small files come from the
hub itself, with Git's SHA-1 as their ETag. `faults` is a plan of what goes wrong, taken in order; `seen` is what was asked.
Not covered: TLS, several ranges in one request, pages of long lists, datasets and writing.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from aiohttp import web
from msgspec import Struct

At = Literal["list", "hub", "network"]
"""A list of files; a file's address at the hub; its place on the content network."""

APART: Final = (".gguf", ".safetensors", ".bin")

WRITE_BYTES: Final = 64 * 1024


class Fault(Struct, frozen=True, kw_only=True):
    """What goes wrong with the next `times` requests of a kind, after `after` of them went well."""

    at: At
    path: str = ""
    """Only of this file."""
    times: int = 1
    after: int = 0
    status: int | None = None
    headers: Mapping[str, str] = {}
    cut_after: int | None = None
    """Bytes of the body, then the connection breaks."""
    hold_after: int | None = None
    """Bytes of the body, then nothing until `release` is called."""
    wrong: bool = False
    """The body's first byte is another."""
    whole: bool = False
    """A range is not heeded: 200 and all of it."""
    tag: str | None = None
    """Its ETag is this one."""
    becomes: bytes | None = None
    """The file is this from now on."""


class Seen(NamedTuple):
    """A request. `token` is the Authorization header as it came."""

    at: At
    path: str
    range: str | None
    if_range: str | None
    token: str | None
    cookie: str | None


class Repo(Struct):
    """A repository. `gated`: only who sends the hub's token may fetch its files; `private`: or see it at all."""

    files: dict[str, bytes]
    commit: str = "5" * 40
    licence: str | None = "apache-2.0"
    gated: bool = False
    private: bool = False


class FakeHub:
    """A context manager. Put repositories into `repos`; the hub is at `url`, a Millrace cloud's too (`url` + '/hub')."""

    def __init__(self, repos: Mapping[str, Repo] | None = None, *, token: str = "hf_secret") -> None:  # noqa: S107 - a fake's
        self.repos: Final = dict(repos or {})
        self.token: Final = token
        self._faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.sent = 0
        """Bytes of files' bodies."""
        self.url = ""
        self.network_url = ""
        self._runners: list[web.AppRunner] = []
        self._counts: dict[int, int] = {}
        self._released = asyncio.Event()
        self.held = asyncio.Event()
        """A request waits for `release`."""

    async def __aenter__(self) -> Self:
        hub, network = web.Application(), web.Application()
        for prefix in ("", "/hub"):
            hub.router.add_get(prefix + "/api/models/{owner}/{name}", self._hugging_list)
            hub.router.add_get(prefix + "/api/models/{owner}/{name}/revision/{revision}", self._hugging_list)
            hub.router.add_get(prefix + "/api/models/{owner}/{name}/tree/{revision}", self._hugging_tree)
            hub.router.add_get(prefix + "/{owner}/{name}/resolve/{revision}/{path:.+}", self._hugging_file)
        hub.router.add_get("/api/v1/models/{owner}/{name}/repo/files", self._modelscope_list)
        hub.router.add_get("/api/v1/models/{owner}/{name}/repo", self._modelscope_file)
        network.router.add_get("/{owner}/{name}/{path:.+}", self._network_file)
        self.url = await self._listen(hub)
        self.network_url = await self._listen(network)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        for runner in self._runners:
            await runner.cleanup()

    @property
    def faults(self) -> list[Fault]:
        """What goes wrong from the moment it is assigned."""
        return self._faults

    @faults.setter
    def faults(self, plan: list[Fault]) -> None:
        self._faults = plan
        self._counts.clear()

    def release(self) -> None:
        """Let go on what `hold_after` stopped, now and later."""
        self._released.set()

    def requests(self, at: At, path: str = "") -> list[Seen]:
        return [one for one in self.seen if one.at == at and one.path.endswith(path)]

    async def _listen(self, app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _hugging_list(self, request: web.Request) -> web.StreamResponse:
        fault = self._see("list", "", request)
        name, repo = self._repo(request, whole=False)
        if fault is not None and fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers)
        _check_revision(request, repo)
        siblings = [self._sibling(path, content) for path, content in repo.files.items()]
        card = {} if repo.licence is None else {"license": repo.licence}
        return web.json_response({"id": name, "sha": repo.commit, "cardData": card, "siblings": siblings})

    async def _hugging_tree(self, request: web.Request) -> web.StreamResponse:
        """The same files as huggingface_hub asks for them."""
        self._see("list", "", request)
        _, repo = self._repo(request, whole=False)
        _check_revision(request, repo)
        entries = []
        for path, content in repo.files.items():
            sibling = self._sibling(path, content)
            lfs = sibling.get("lfs")
            form = {"type": "file", "path": path, "size": len(content), "oid": sibling["blobId"]}
            entries.append(form if lfs is None else {**form, "lfs": {**lfs, "oid": lfs["sha256"]}})
        return web.json_response(entries)

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        form: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
        if path.endswith(APART):
            form["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return form

    async def _hugging_file(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        fault = self._see("hub", path, request)
        name, repo = self._repo(request, whole=True)
        _check_revision(request, repo)
        content = self._content(repo, path, fault)
        common = {"X-Repo-Commit": repo.commit, "X-Linked-Size": str(len(content))}
        if not path.endswith(APART):
            return await self._send(request, content, f'"{git_sha1(content)}"', fault, common)
        if fault is not None and fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers)
        linked = f'"{hashlib.sha256(content).hexdigest()}"'
        place = f"{self.network_url}/{name}/{path}?Signature=s3cr3t"
        return web.Response(status=302, headers={**common, "X-Linked-Etag": linked, "Location": place})

    async def _modelscope_list(self, request: web.Request) -> web.StreamResponse:
        fault = self._see("list", "", request)
        _, repo = self._repo(request, whole=False)
        if fault is not None and fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers)
        files = [
            {"Path": path, "Name": path.rpartition("/")[2], "Type": "blob", "Size": len(content),
             "Sha256": hashlib.sha256(content).hexdigest(), "Revision": repo.commit}
            for path, content in repo.files.items()
        ]  # fmt: skip
        folders = [{"Path": "a-folder", "Name": "a-folder", "Type": "tree", "Size": 0, "Sha256": ""}]
        return web.json_response({"Code": 200, "Data": {"Files": folders + files}, "Message": "success", "Success": True})

    async def _modelscope_file(self, request: web.Request) -> web.StreamResponse:
        path = request.query["FilePath"]
        fault = self._see("hub", path, request)
        _, repo = self._repo(request, whole=True)
        content = self._content(repo, path, fault)
        return await self._send(request, content, f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"', fault, {})

    async def _network_file(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        fault = self._see("network", path, request)
        if request.query.get("Signature") != "s3cr3t":
            raise web.HTTPForbidden
        content = self._content(self.repos[_name(request)], path, fault)
        tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}-1"'
        return await self._send(request, content, tag, fault, {})

    def _see(self, at: At, path: str, request: web.Request) -> Fault | None:
        """Note the request; the fault that is meant for it, if one is."""
        headers = request.headers
        self.seen.append(
            Seen(at, path, headers.get("Range"), headers.get("If-Range"), headers.get("Authorization"), headers.get("Cookie"))
        )
        for number, fault in enumerate(self._faults):
            if fault.at == at and fault.path in ("", path):
                count = self._counts[number] = self._counts.get(number, 0) + 1
                if fault.after < count <= fault.after + fault.times:
                    return fault
        return None

    def _repo(self, request: web.Request, *, whole: bool) -> tuple[str, Repo]:
        """The repository, for whom it is open. The list of a gated one is public, its files (`whole`) are not."""
        name = _name(request)
        repo = self.repos.get(name)
        allowed = request.headers.get("Authorization") == f"Bearer {self.token}"
        if repo is None or (repo.private and not allowed):
            raise _no(HTTPStatus.UNAUTHORIZED, "RepoNotFound")
        if repo.gated and whole and not allowed:
            asked = "Authorization" in request.headers
            raise _no(HTTPStatus.FORBIDDEN if asked else HTTPStatus.UNAUTHORIZED, "GatedRepo")
        return name, repo

    def _content(self, repo: Repo, path: str, fault: Fault | None) -> bytes:
        if fault is not None and fault.becomes is not None:
            repo.files[path] = fault.becomes
        content = repo.files.get(path)
        if content is None:
            raise _no(HTTPStatus.NOT_FOUND, "EntryNotFound")
        return content

    async def _send(
        self, request: web.Request, content: bytes, tag: str, fault: Fault | None, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        fault = fault or Fault(at="hub")
        if fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers)
        tag = fault.tag or tag
        start, end, status = 0, len(content), HTTPStatus.OK
        wanted = request.http_range
        same = request.headers.get("If-Range", tag) == tag
        if wanted.start is not None and same and not fault.whole:
            start, end = wanted.start, min(wanted.stop or len(content), len(content))
            if start >= end:
                return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            status = HTTPStatus.PARTIAL_CONTENT
        response = web.StreamResponse(status=status, headers={**headers, "ETag": tag, "Content-Length": str(end - start)})
        if status == HTTPStatus.PARTIAL_CONTENT:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        body = content[start:end]
        return await self._write(request, response, bytes([body[0] ^ 1]) + body[1:] if fault.wrong else body, fault)

    async def _write(
        self, request: web.Request, response: web.StreamResponse, body: bytes, fault: Fault
    ) -> web.StreamResponse:
        stops = [stop for stop in (fault.cut_after, fault.hold_after) if stop is not None and stop < len(body)]
        first = min(stops, default=len(body))
        await self._pour(response, body[:first])
        if first < len(body) and fault.cut_after == first and request.transport is not None:
            request.transport.abort()
            return response
        if first < len(body):
            self.held.set()
            await self._released.wait()
            await self._pour(response, body[first:])
        await response.write_eof()
        return response

    async def _pour(self, response: web.StreamResponse, body: bytes) -> None:
        for at in range(0, len(body), WRITE_BYTES):
            chunk = body[at : at + WRITE_BYTES]
            await response.write(chunk)
            self.sent += len(chunk)


def git_sha1(content: bytes) -> str:
    """What Git calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _name(request: web.Request) -> str:
    return f"{request.match_info['owner']}/{request.match_info['name']}"


def _check_revision(request: web.Request, repo: Repo) -> None:
    if request.match_info.get("revision", "main") not in ("main", repo.commit):
        raise _no(HTTPStatus.NOT_FOUND, "RevisionNotFound")


def _no(status: HTTPStatus, code: str) -> web.HTTPException:
    kinds = {401: web.HTTPUnauthorized, 403: web.HTTPForbidden, 404: web.HTTPNotFound}
    return kinds[status](headers={"X-Error-Code": code})
