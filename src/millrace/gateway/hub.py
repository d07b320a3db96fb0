"""The hub's routes, below `/hub`: published models for everybody's client, and pushing for a tenant's keys.

Reads are in the form of the Hugging Face API, so that its own client works with `HF_ENDPOINT=http://host/hub`. A repository
that is not for the caller is answered to the byte as one that is not there. Files go from the disk to the socket in pieces
read by threads; the next one is read when the kernel has the last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, TypeVar

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.published import store
from millrace.catalog.published.depot import Depot, Incoming
from millrace.catalog.published.store import UNASKED
from millrace.catalog.published.values import Listed, Repository, Revision, Visibility, serving_files
from millrace.catalog.weights.values import StoredFile
from millrace.gateway.exchange import Exchange
from millrace.gateway.ranges import Span, Unsatisfiable, asked, matches
from millrace.gateway.refusals import Headers, NotHere
from millrace.settings.limits import Limits
from millrace.store.transaction import Tx
from millrace.tenants.authenticate import Directory
from millrace.tenants.values import Caller, Scope
from millrace.wire import hub as wire
from millrace.wire.json_body import decode_body, encode

PREFIX: Final = "/hub/"
API: Final = "/hub/api/models/"
LIST: Final = "/hub/api/models"
BLOBS: Final = "/hub/api/blobs/"

PIECE_BYTES: Final = 1 << 20
"""Read and sent at once, and so what a transfer has in memory."""

PART_BYTES_MAX: Final = 64 << 20
"""Of one request with a part of a file: what has to be sent again at most after a cut."""

THREADS: Final = 4
"""That hash and commit; what comes above waits."""

LIST_MAX: Final = 1000

_LIST_QUERY: Final = frozenset({"search", "author", "limit", "full"})
_INFO_QUERY: Final = frozenset({"blobs", "securityStatus"})
_TREE_QUERY: Final = frozenset({"recursive", "expand"})
_NO_QUERY: Final[frozenset[str]] = frozenset()

T = TypeVar("T")


class HubRoutes:
    """For one event loop. `secret` of the Authorization header is empty where there is none."""

    def __init__(self, depot: Depot, directory: Directory, limits: Limits, clock: Clock, transfers_max: int) -> None:
        self._depot = depot
        self._db = depot.db
        self._directory = directory
        self._limits = limits
        self._clock = clock
        self._transfers_max = transfers_max
        self._transfers = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="hub")

    async def __call__(self, exchange: Exchange, secret: str) -> None:
        caller = None
        if secret:
            caller = exchange.trail.caller = await self._directory.caller(secret)
        await self._route(exchange, caller)

    async def _route(self, exchange: Exchange, caller: Caller | None) -> None:
        path, method = exchange.path, "GET" if exchange.method == "HEAD" else exchange.method
        if path == LIST and method == "GET":
            await self._list(exchange, caller)
        elif path.startswith(BLOBS) and method == "PATCH":
            await self._receive(exchange, _writer(caller), path.removeprefix(BLOBS))
        elif path.startswith(API):
            owner, name, verb, further = _parts(path.removeprefix(API), 4)
            await self._model(exchange, caller, method, owner, name, verb, further)
        else:
            owner, name, verb, rev, file = _parts(path.removeprefix(PREFIX), 5)
            if verb != "resolve" or not file or method != "GET":
                raise _no_route(exchange)
            await self._file(exchange, caller, owner, name, rev, file)

    async def _model(
        self, exchange: Exchange, caller: Caller | None, method: str, owner: str, name: str, verb: str, further: str
    ) -> None:
        if method == "GET":
            await self._look(exchange, caller, owner, name, verb, further)
            return
        writes: dict[tuple[str, str], Callable[..., Awaitable[None]]] = {
            ("PUT", ""): self._make, ("DELETE", ""): self._remove, ("POST", "missing"): self._missing,
            ("POST", "commit"): self._commit,
        }  # fmt: skip
        write = writes.get((method, verb))
        if write is None or further:
            raise _no_route(exchange)
        exchange.query(_NO_QUERY)
        await write(exchange, _writer(caller), owner, name)

    async def _look(
        self, exchange: Exchange, caller: Caller | None, owner: str, name: str, verb: str, further: str
    ) -> None:
        if not verb or (verb == "revision" and further):
            await self._info(exchange, caller, owner, name, further or "main")
        elif verb == "tree" and further:
            await self._tree(exchange, caller, owner, name, further)
        else:
            raise _no_route(exchange)

    async def _list(self, exchange: Exchange, caller: Caller | None) -> None:
        query = exchange.query(_LIST_QUERY)
        limit, reader = _limit(query.get("limit", "100")), _reader(caller)
        found = await self._db.look(
            lambda tx: store.listed(
                tx, reader, search=query.get("search", ""), owner=query.get("author", ""), limit=limit
            )
        )
        await exchange.answer(encode([_listed_form(one) for one in found]))

    async def _info(self, exchange: Exchange, caller: Caller | None, owner: str, name: str, rev: str) -> None:
        blobs = exchange.query(_INFO_QUERY).get("blobs", "").lower() in ("true", "1")

        def look(tx: Tx) -> tuple[Repository, Revision, tuple[StoredFile, ...], int]:
            repository, revision = _find(tx, owner, name, rev, _reader(caller))
            return repository, revision, store.files(tx, revision), store.pulls(tx, repository)

        repository, revision, files, pulls = await self._db.look(look)
        siblings = [wire.sibling(file.path, file.sha256, file.size, blobs=blobs) for file in files]
        form = wire.model_info(
            owner=owner, name=name, commit=revision.commit, private=repository.visibility is Visibility.PRIVATE,
            created_at=repository.created_at, changed_at=revision.created_at, pulls=pulls,
            size=sum(file.size for file in files), files=siblings,
        )  # fmt: skip
        await exchange.answer(encode(form))

    async def _tree(self, exchange: Exchange, caller: Caller | None, owner: str, name: str, further: str) -> None:
        deep = exchange.query(_TREE_QUERY).get("recursive", "").lower() in ("true", "1")
        rev, _, folder = further.partition("/")

        def look(tx: Tx) -> tuple[Revision, tuple[StoredFile, ...]]:
            _, revision = _find(tx, owner, name, rev, _reader(caller))
            return revision, store.files(tx, revision)

        revision, files = await self._db.look(look)
        entries = list(tree(files, folder.strip("/"), deep=deep))
        if not entries:
            raise _no_entry(revision)
        await exchange.answer(encode(entries))

    async def _file(
        self, exchange: Exchange, caller: Caller | None, owner: str, name: str, rev: str, path: str
    ) -> None:  # fmt: skip
        exchange.query(frozenset({"download"}))

        def look(tx: Tx) -> tuple[Repository, Revision, tuple[StoredFile, ...]]:
            repository, revision = _find(tx, owner, name, rev, _reader(caller))
            return repository, revision, store.files(tx, revision)

        repository, revision, files = await self._db.look(look)
        file = next((one for one in files if one.path == path), None)
        if file is None:
            raise _no_entry(revision)
        etag = f'"{file.sha256}"'
        fields = _file_fields(file, revision, etag)
        if matches(_text(exchange, b"if-none-match"), etag):
            await exchange.start(304, fields)
            await exchange.finish()
            return
        span = asked(_text(exchange, b"range"), file.size, etag=etag, if_range=_text(exchange, b"if-range"))
        if isinstance(span, Unsatisfiable):
            fields += [(b"content-range", b"bytes */%d" % file.size), (b"content-length", b"0")]
            await exchange.start(416, fields)
            await exchange.finish()
            return
        async with self._transfer(), self._opened(file) as opened:
            if exchange.method == "GET" and span.start == 0 and path in serving_files(files):
                reader, now = _reader(caller), self._clock.now()
                await self._db.write(lambda tx: store.count_pull(tx, now, repository, reader))
            await self._send(exchange, opened, span, fields, file.size)

    async def _send(self, exchange: Exchange, opened: BinaryIO, span: Span, fields: Headers, size: int) -> None:
        length = span.end - span.start
        if not span.whole:
            fields = [*fields, (b"content-range", b"bytes %d-%d/%d" % (span.start, span.end - 1, size))]
        await exchange.start(200 if span.whole else 206, [*fields, (b"content-length", b"%d" % length)])
        if exchange.method == "HEAD" or not length:
            await exchange.finish()
            return
        at = span.start
        while at < span.end:
            piece = await asyncio.to_thread(_read, opened, at, min(PIECE_BYTES, span.end - at))
            at += len(piece)
            if not piece or not await exchange.write(piece, more=at < span.end):
                return

    async def _make(self, exchange: Exchange, caller: Caller, owner: str, name: str) -> None:
        body = decode_body(await exchange.body(self._limits) or b"{}", wire.REPOSITORY)
        visibility = None if body.visibility is None else Visibility(body.visibility)
        repository, new = await self._work(lambda: self._depot.make(caller.tenant, owner, name, visibility))
        form = {"id": repository.full_name, "visibility": repository.visibility.value, "new": new}
        await exchange.answer(encode(form), status=201 if new else 200)

    async def _remove(self, exchange: Exchange, caller: Caller, owner: str, name: str) -> None:
        await self._work(lambda: self._depot.remove(caller.tenant, owner, name))
        await exchange.answer(encode({"id": f"{owner}/{name}", "removed": True}))

    async def _missing(self, exchange: Exchange, caller: Caller, owner: str, name: str) -> None:
        files = _files(decode_body(await exchange.body(self._limits), wire.MISSING).files)
        head, absent = await self._work(lambda: self._depot.missing(caller.tenant, owner, name, files))
        listed = [wire.MissingFile(sha256=one.file.sha256, size=one.file.size, offset=one.offset) for one in absent]
        await exchange.answer(encode(wire.MissingAnswer(head=None if head is None else head.commit, missing=listed)))

    async def _commit(self, exchange: Exchange, caller: Caller, owner: str, name: str) -> None:
        body = decode_body(await exchange.body(self._limits), wire.COMMIT)
        files = _files(body.files)
        made = await self._work(
            lambda: self._depot.commit(
                caller.tenant, owner, name, files=files, parent=body.parent, message=body.message
            )
        )
        await exchange.answer(encode(wire.CommitAnswer(id=f"{owner}/{name}", commit=made.commit)))

    async def _receive(self, exchange: Exchange, caller: Caller, sha256: str) -> None:
        """A part of a file: `upload-length` is the whole file's size, `upload-offset` where this part begins."""
        exchange.query(_NO_QUERY)
        size, offset = _number(exchange, b"upload-length"), _number(exchange, b"upload-offset")
        async with self._transfer():
            incoming = await self._work(lambda: self._depot.receive(caller.tenant, sha256, size, offset))
            try:
                await self._take(exchange, incoming)
                whole = await self._work(incoming.finish)
            finally:
                incoming.close()
        answer = wire.BlobAnswer(sha256=sha256, offset=incoming.offset, size=size, whole=whole)
        await exchange.answer(encode(answer))

    async def _take(self, exchange: Exchange, incoming: Incoming) -> None:
        buffer = bytearray()
        try:
            async for piece in exchange.pieces(PART_BYTES_MAX, self._limits.body_timeout_s):
                buffer += piece
                if len(buffer) >= PIECE_BYTES:
                    data = bytes(buffer)
                    buffer.clear()
                    await asyncio.to_thread(incoming.write, data)
        finally:
            if buffer:  # of a client that left, too: what has come need not come again
                await asyncio.shield(asyncio.to_thread(incoming.write, bytes(buffer)))

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @asynccontextmanager
    async def _transfer(self) -> AsyncIterator[None]:
        if self._transfers >= self._transfers_max:
            raise Refusal(
                Reason.RATE_LIMIT_EXCEEDED, f"this server moves {self._transfers_max} files at once; come back",
                retry_after_s=2, limit="hub_transfers",
            )  # fmt: skip
        self._transfers += 1
        try:
            yield
        finally:
            self._transfers -= 1

    @asynccontextmanager
    async def _opened(self, file: StoredFile) -> AsyncIterator[BinaryIO]:
        path = self._depot.blobs.path(file.sha256)
        try:
            opened = await asyncio.to_thread(_open, path)
        except FileNotFoundError:
            raise Refusal(
                Reason.STORE_UNAVAILABLE,
                f"{file.path} is published and what it contains is not on this server (restored from a backup?); its operator "
                "can bring the folder of the hub back, its tenant can push it again",
            ) from None
        try:
            yield opened
        finally:
            opened.close()


def tree(files: Iterable[StoredFile], folder: str, *, deep: bool) -> Iterable[dict[str, Any]]:
    """What lies in a folder ('' is the top): its files and folders, and those below too where it is `deep`."""
    seen = set()
    prefix = f"{folder}/" if folder else ""
    for file in files:
        if not file.path.startswith(prefix):
            continue
        inner = PurePosixPath(file.path.removeprefix(prefix))
        above = [parent for parent in reversed(inner.parents) if str(parent) != "."]
        for parent in above if deep else above[:1]:
            if parent not in seen:
                seen.add(parent)
                yield wire.tree_folder(f"{prefix}{parent}", file.sha256[:40])
        if deep or not above:
            yield wire.tree_file(file.path, file.sha256, file.size)


def _find(tx: Tx, owner: str, name: str, rev: str, reader: str) -> tuple[Repository, Revision]:
    try:
        repository = store.visible(tx, owner, name, reader)
    except Refusal as refusal:
        raise NotHere("RepoNotFound", refusal.sentence) from None
    revision = store.revision(tx, repository, rev)
    if revision is None:
        why = "it is empty" if rev == "main" else "revisions are main and whole commit ids"
        raise NotHere("RevisionNotFound", f"there is no such revision: {why}")
    return repository, revision


def _listed_form(one: Listed) -> dict[str, Any]:
    repository = one.repository
    return wire.model_info(
        owner=repository.owner, name=repository.name, commit=one.commit, size=one.size, pulls=one.pulls,
        private=repository.visibility is Visibility.PRIVATE, created_at=repository.created_at, changed_at=one.changed_at,
    )  # fmt: skip


def _file_fields(file: StoredFile, revision: Revision, etag: str) -> Headers:
    name = PurePosixPath(file.path).name.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "_")
    return [
        (b"content-type", b"application/octet-stream"), (b"accept-ranges", b"bytes"), (b"etag", etag.encode()),
        (b"x-linked-etag", etag.encode()), (b"x-linked-size", b"%d" % file.size),
        (b"x-repo-commit", revision.commit.encode()), (b"cache-control", b"private, no-cache"),
        (b"x-content-type-options", b"nosniff"), (b"content-disposition", f'attachment; filename="{name}"'.encode()),
    ]  # fmt: skip


def _reader(caller: Caller | None) -> str:
    """Whose private models may be seen: those of a key that may read."""
    return caller.tenant.id if caller is not None and Scope.READ in caller.key.scopes else UNASKED


def _writer(caller: Caller | None) -> Caller:
    """Only a whole key publishes: one that was cut down to a scope was cut down for somebody else's program."""
    if caller is None:
        raise Refusal(Reason.INVALID_API_KEY, "pushing needs a key: send it as 'Authorization: Bearer mr_…'")
    for scope in Scope:
        caller.require(scope)
    return caller


def _no_route(exchange: Exchange) -> Refusal:
    return Refusal(Reason.NOT_FOUND, f"there is no {exchange.method} {exchange.path[:200]} here; see docs/guides/hub.md")


def _no_entry(revision: Revision) -> NotHere:
    return NotHere("EntryNotFound", f"commit {revision.commit} has no such file")


def _parts(path: str, count: int) -> list[str]:
    """Of a path, the last with whatever comes behind it; those that are not there are empty."""
    found = path.split("/", count - 1)
    return [*found, *[""] * (count - len(found))]


def _text(exchange: Exchange, name: bytes) -> str | None:
    value = exchange.header(name)
    return None if value is None else value.decode("latin-1")


def _number(exchange: Exchange, name: bytes) -> int:
    text = _text(exchange, name) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refusal(Reason.INVALID_REQUEST, f"{name.decode()}: the header is missing or no number", param=name.decode())
    return int(text)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIST_MAX):
        raise Refusal(Reason.INVALID_REQUEST, f"limit: 1 to {LIST_MAX}, not {text[:20]!r}", param="limit")
    return int(text)


def _files(files: Iterable[wire.PushedFile]) -> list[StoredFile]:
    return [StoredFile(path=file.path, sha256=file.sha256, size=file.size) for file in files]


def _open(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


def _read(opened: BinaryIO, at: int, count: int) -> bytes:
    opened.seek(at)
    return opened.read(count)
