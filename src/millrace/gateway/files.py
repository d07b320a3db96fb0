"""`/v1/files`: what tenants send for tuning, taken piece by piece, so that a file is never in memory."""

import asyncio
from typing import Final

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.gateway.exchange import Exchange
from millrace.gateway.paging import limit_of
from millrace.settings.limits import Limits
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants.values import Caller, Scope
from millrace.tuning.files import store
from millrace.tuning.files.shelf import Incoming, Shelf
from millrace.tuning.files.values import PURPOSE, StoredFile
from millrace.tuning.forms import file_form
from millrace.tuning.office import dashed
from millrace.wire.files import FileDeleted, FileList
from millrace.wire.json_body import encode, invalid, unsupported
from millrace.wire.multipart import Multipart, PartBegins, boundary_of

PATH: Final = "/v1/files"

FIELDS_BYTES_MAX: Final = 4096
"""Of what stands in the form beside the file."""

FILENAME_MAX: Final = 255
LIST_MAX: Final = 10_000
PIECE_BYTES: Final = 256 * 1024

_QUERY: Final = frozenset({"after", "limit", "order", "purpose"})
_NO_QUERY: Final[frozenset[str]] = frozenset()


class Form:
    """What has come of an upload."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.filename: str | None = None
        self._part: PartBegins | None = None
        self._small = 0

    def take(self, piece: PartBegins | bytes, coming: Incoming, most: int) -> None:
        if isinstance(piece, PartBegins):
            if piece.filename is None and piece.name != "purpose":
                unsupported(piece.name[:80], "is not known here; there are purpose and file")
            if piece.filename is not None and (piece.name != "file" or self.filename is not None):
                invalid("file", "send one file, in the field file")
            self._part = piece
            self.filename = piece.filename if piece.filename is not None else self.filename
            self.fields.setdefault(piece.name, b"")
            return
        assert self._part is not None
        if self._part.filename is None:
            self._small += len(piece)
            if self._small > FIELDS_BYTES_MAX:
                invalid(self._part.name[:80], f"the fields beside the file are longer than {FIELDS_BYTES_MAX} bytes")
            self.fields[self._part.name] += piece
            return
        coming.write(piece)
        if coming.size > most:
            raise Refusal(
                Reason.REQUEST_TOO_LARGE,
                f"file: it is larger than {most} bytes; train on a part of it, or ask the operator to raise "
                "limits.file_bytes_max",
                param="file",
            )

    def check(self) -> str:
        """The file's name. Refuses what is missing, and any purpose but one."""
        purpose = self.fields.get("purpose", b"").decode("utf-8", "replace")
        if not purpose:
            invalid("purpose", f"is required; it is {PURPOSE!r}")
        if purpose != PURPOSE:
            unsupported("purpose", f"{purpose[:40]!r} is not supported; files are taken for {PURPOSE!r} only")
        if self.filename is None:
            invalid("file", "is required")
        return self.filename.replace("\\", "/").rpartition("/")[2][:FILENAME_MAX] or "file"


class Files:
    """The files of one gateway's callers."""

    def __init__(self, db: Database, shelf: Shelf, limits: Limits, clock: Clock, ids: Ids) -> None:
        self._db = db
        self._shelf = shelf
        self._limits = limits
        self._clock = clock
        self._ids = ids

    async def upload(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.INFERENCE)
        exchange.query(_NO_QUERY)
        multipart = Multipart(boundary_of((exchange.header(b"content-type") or b"").decode("latin-1")))
        form, most = Form(), self._limits.file_bytes_max
        with self._shelf.incoming() as coming:
            async with asyncio.timeout(self._limits.request_timeout_s):
                async for data in exchange.pieces(most + 4 * FIELDS_BYTES_MAX, self._limits.body_timeout_s):
                    for piece in multipart.feed(data):
                        form.take(piece, coming, most)
            if not multipart.over:
                invalid("file", "the body ends before its last boundary")
            filename = form.check()
            sha256 = await asyncio.to_thread(coming.keep)
        file = StoredFile(
            id=dashed(self._ids.new("file")), tenant_id=caller.tenant.id, project_id=caller.project.id, filename=filename,
            bytes=coming.size, sha256=sha256, created_at=self._clock.now(),
        )  # fmt: skip
        await self._db.write(lambda tx: store.add(tx, file, self._limits.files_bytes_max))
        await exchange.answer(encode(file_form(file)))

    async def list(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.READ)
        query = exchange.query(_QUERY)
        limit = limit_of(query, LIST_MAX, LIST_MAX)
        if query.get("order", "desc") not in ("asc", "desc"):
            invalid("order", "is asc or desc")
        upward = query.get("order") == "asc"

        def look(tx: Tx) -> list[StoredFile]:
            after = store.find(tx, caller.tenant.id, query["after"], param="after") if "after" in query else None
            return store.page(tx, caller.tenant.id, limit + 1, after, upward=upward)

        found = [] if query.get("purpose", PURPOSE) != PURPOSE else await self._db.look(look)
        data = [file_form(file) for file in found[:limit]]
        form = FileList(
            data=data, has_more=len(found) > limit, first_id=data[0].id if data else None, last_id=data[-1].id if data else None
        )
        await exchange.answer(encode(form))

    async def show(self, exchange: Exchange, caller: Caller) -> None:
        await exchange.answer(encode(file_form(await self._find(exchange, caller, Scope.READ))))

    async def content(self, exchange: Exchange, caller: Caller) -> None:
        file = await self._find(exchange, caller, Scope.READ)
        try:
            opened = await asyncio.to_thread(self._shelf.path(file.sha256).open, "rb")
        except FileNotFoundError:
            raise Refusal(
                Reason.STORE_UNAVAILABLE,
                "the contents of this file are not in the folder of this server; the operator sees to it that all share one",
                retry_after_s=60,
            ) from None
        fields = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % file.bytes)]
        with opened:
            await exchange.start(200, fields)
            while piece := await asyncio.to_thread(opened.read, PIECE_BYTES):
                if not await exchange.write(piece):
                    return
        await exchange.finish()

    async def delete(self, exchange: Exchange, caller: Caller) -> None:
        file = await self._find(exchange, caller, Scope.INFERENCE)
        await self._db.write(lambda tx: store.delete(tx, file, tx.now(self._clock.now())))
        await exchange.answer(encode(FileDeleted(id=file.id)))

    async def _find(self, exchange: Exchange, caller: Caller, scope: Scope) -> StoredFile:
        caller.require(scope)
        exchange.query(_NO_QUERY)
        file_id = exchange.path.removeprefix(PATH).strip("/").partition("/")[0]
        return await self._db.look(lambda tx: store.find(tx, caller.tenant.id, file_id))
