"""Published models whole: rows in the database and contents in `<home>/hub`, changed together. Blocks; for threads.

Theory of operation. A content lies once, however many revisions of however many tenants name it, and goes when none does.
Whoever begins to send one has a row first, and that row names it. Two locks of files keep the rest apart, among threads and
processes (and machines, on a shared folder): `lock`, shared by whoever makes a content or a row that names it, alone for
whoever removes contents; and one for each file on its way, so that two do not write it at once.

A content that another tenant has privately is sent again all the same, or a hash would be as good as the file.
"""

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.catalog.gguf_header import check_contents
from millrace.catalog.published import store
from millrace.catalog.published.values import Repository, Revision, Visibility, check_files, check_message
from millrace.catalog.safetensors_header import check_file
from millrace.catalog.weights.blobs import Blobs, hash_file
from millrace.catalog.weights.durable import store_errors, try_lock
from millrace.catalog.weights.values import SHA256, StoredFile
from millrace.store.database import Database
from millrace.store.once import write_once
from millrace.store.transaction import Tx
from millrace.tenants.values import Tenant

ROOM_BYTES: Final = 1 << 30
"""What the disk keeps free: the books are on it too."""

STALE_S: Final = 7 * 24 * 3600
"""How long a file that was begun and not committed is kept for whoever goes on."""

_PICKLE_PROTOCOLS: Final = frozenset(b"\x02\x03\x04\x05")


class Missing(NamedTuple):
    """A content that has to be sent before a commit can name it; `offset` bytes of it are here."""

    file: StoredFile
    offset: int


class Depot:
    """`quota` is in bytes for each tenant."""

    def __init__(self, db: Database, folder: Path, ids: Ids, clock: Clock, quota: int) -> None:
        self.db = db
        self.blobs: Final = Blobs(folder)
        self._ids = ids
        self._clock = clock
        self._quota = quota

    def make(self, tenant: Tenant, owner: str, name: str, visibility: Visibility | None) -> tuple[Repository, bool]:
        """The tenant's repository, and whether it is new. Raises NOT_FOUND under another's name."""
        if owner != tenant.name:
            raise store.no_repository()
        return write_once(self.db, lambda tx: store.make(tx, self._ids, self._clock.now(), tenant, name, visibility))

    def missing(
        self, tenant: Tenant, owner: str, name: str, files: Sequence[StoredFile]
    ) -> tuple[Revision | None, list[Missing]]:
        """The newest revision, and what of these files has to be sent. Refuses what a commit of them would."""
        listing = check_files(files)
        repository = self.db.read(lambda tx: store.owned(tx, owner, name, tenant))
        self.db.write_now(lambda tx: store.check_quota(tx, tenant, listing, self._quota))
        newest = self.db.read(lambda tx: store.head(tx, repository))
        absent = self._absent(tenant, listing)
        self._check_room(sum(one.file.size - one.offset for one in absent))
        return newest, absent

    def receive(self, tenant: Tenant, sha256: str, size: int, offset: int) -> "Incoming":
        """Take the bytes from `offset` on. Raises CONFLICT where another number is here, or another is sending the file."""
        file = StoredFile(path=sha256, sha256=sha256, size=size)
        if not SHA256.fullmatch(sha256) or size < 0 or not 0 <= offset <= size:
            raise Refusal(Reason.INVALID_REQUEST, "a file is named by 64 lower-case hexadecimal digits, its size and an offset")
        self.blobs.make()
        at = self._part(tenant, sha256)
        with store_errors(self.blobs.root):
            descriptor = try_lock(at)
        if descriptor is None:
            raise Refusal(Reason.CONFLICT, "this file is being sent already; wait for that to end, or go on with it later")
        incoming = Incoming(self, tenant, file, at, descriptor)
        try:
            incoming.require(offset)
            self._check_room(size - offset)
            self._begin(tenant, file)
        except BaseException:
            if not incoming.offset:
                at.unlink(missing_ok=True)
            incoming.close()
            raise
        return incoming

    def commit(
        self, tenant: Tenant, owner: str, name: str, *, files: Sequence[StoredFile], parent: str | None, message: str
    ) -> Revision:
        """A revision of these files behind `parent`, whole or not at all. Raises CONFLICT where something is missing."""
        listing, words = check_files(files), check_message(message)
        repository = self.db.read(lambda tx: store.owned(tx, owner, name, tenant))
        with self._naming():
            absent = self._absent(tenant, listing)
            if absent:
                raise Refusal(
                    Reason.CONFLICT, f"{absent[0].file.path} and {len(absent) - 1} more files are not here yet; send them first"
                )
            for file in listing:
                check_content(file, self.blobs.path(file.sha256))

            def work(tx: Tx) -> Revision:
                if store.known(tx, tenant, {file.sha256 for file in listing}) != {file.sha256 for file in listing}:
                    raise Refusal(Reason.CONFLICT, "a file was removed meanwhile; push again")
                store.check_quota(tx, tenant, listing, self._quota)
                return store.add(
                    tx, self._ids, self._clock.now(), repository=repository, parent=parent, listing=listing, message=words
                )

            return self.db.write_now(work)

    def remove(self, tenant: Tenant, owner: str, name: str) -> None:
        """A tenant's own repository, with the contents that nobody else names."""
        self.take_away(self.db.read(lambda tx: store.owned(tx, owner, name, tenant)))

    def take_away(self, repository: Repository) -> None:
        """Whoever's it is: for the operator."""
        self._discard(self.db.write_now(lambda tx: store.remove(tx, repository)))

    def sweep(self) -> int:
        """Drop what was begun long ago, and contents that a killed process left unnamed; returns how many contents went."""
        if not self.blobs.folder.is_dir():
            return 0
        stale = self.db.read(lambda tx: store.stale_uploads(tx, self._clock.now() - STALE_S * NS_PER_S))
        for tenant_id, sha256 in stale:
            self.db.write_now(lambda tx, t=tenant_id, s=sha256: store.end_upload(tx, t, s))  # type: ignore[misc]
            with store_errors(self.blobs.root):
                (self.blobs.partial / f"{tenant_id}-{sha256}").unlink(missing_ok=True)
        return self._discard([path.name for path in self.blobs.folder.iterdir() if SHA256.fullmatch(path.name)])

    def lost(self) -> dict[str, int]:
        """Size by SHA-256 of what is published and not here, as after a restore without the folder."""
        found = self.db.read(store.contents)
        return {sha256: size for sha256, size in found.items() if not self.blobs.has(sha256, size)}

    def finish(self, tenant: Tenant, file: StoredFile, at: Path) -> None:
        """A file that came whole becomes a content. Raises INVALID_REQUEST, and forgets it, where its hash is another."""
        with at.open("rb") as opened:
            sha256, _ = hash_file(opened.read)
        if sha256 != file.sha256:
            at.unlink()
            self.db.write_now(lambda tx: store.end_upload(tx, tenant.id, file.sha256))
            raise Refusal(
                Reason.INVALID_REQUEST, f"what came has the SHA-256 {sha256}, not {file.sha256}; send the file again"
            )
        with self._naming():
            if self.blobs.has(sha256, file.size):
                at.unlink()
            else:
                self.blobs.adopt(at, sha256)
            self.db.write_now(lambda tx: store.whole_upload(tx, self._clock.now(), tenant, sha256))

    def _absent(self, tenant: Tenant, listing: Sequence[StoredFile]) -> list[Missing]:
        unique = {file.sha256: file for file in listing}
        known = self.db.read(lambda tx: store.known(tx, tenant, unique.keys()))
        return [
            Missing(file, self._here(tenant, sha256))
            for sha256, file in unique.items() if sha256 not in known or not self.blobs.has(sha256, file.size)
        ]  # fmt: skip

    def _begin(self, tenant: Tenant, file: StoredFile) -> None:
        def work(tx: Tx) -> None:
            if store.upload_size(tx, tenant, file.sha256) != file.size:
                store.check_quota(tx, tenant, [file], self._quota)
            store.begin_upload(tx, self._clock.now(), tenant, file.sha256, file.size)

        self.db.write_now(work)

    def _discard(self, hashes: Collection[str]) -> int:
        """Remove contents that nobody names."""
        self.blobs.make()
        with self._locked(fcntl.LOCK_EX):
            named = self.db.read(lambda tx: store.named(tx, hashes))
            gone = [sha256 for sha256 in hashes if sha256 not in named]
            for sha256 in gone:
                self.blobs.discard(sha256)
        return len(gone)

    def _check_room(self, size: int) -> None:
        self.blobs.make()
        with store_errors(self.blobs.root):
            free = shutil.disk_usage(self.blobs.root).free
        if size and free - size < ROOM_BYTES:
            raise Refusal(
                Reason.STORE_UNAVAILABLE, f"this server has no room for {size} bytes; tell its operator", retry_after_s=600
            )

    def _here(self, tenant: Tenant, sha256: str) -> int:
        try:
            return self._part(tenant, sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def _part(self, tenant: Tenant, sha256: str) -> Path:
        return self.blobs.partial / f"{tenant.id}-{sha256}"

    @contextmanager
    def _naming(self) -> Iterator[None]:
        self.blobs.make()
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with store_errors(self.blobs.root):
            descriptor = os.open(self.blobs.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


class Incoming:
    """A file on its way, which nobody else can write meanwhile. Whatever was written stays when it is closed."""

    def __init__(self, depot: Depot, tenant: Tenant, file: StoredFile, at: Path, descriptor: int) -> None:
        self._depot = depot
        self._tenant = tenant
        self.file = file
        self._at = at
        self._descriptor = descriptor
        self.offset = os.fstat(descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def require(self, offset: int) -> None:
        """Raises CONFLICT unless so many bytes are here."""
        if self.offset != offset:
            raise Refusal(Reason.CONFLICT, f"{self.offset} bytes of this file are here, not {offset}; go on from there")

    def write(self, data: bytes) -> None:
        """Raises INVALID_REQUEST for more than was announced."""
        if self.offset + len(data) > self.file.size:
            raise Refusal(Reason.INVALID_REQUEST, f"more came than the {self.file.size} bytes that were announced")
        with store_errors(self._at.parent):
            left = memoryview(data)
            while left:
                written = os.pwrite(self._descriptor, left, self.offset)
                left = left[written:]
                self.offset += written

    def finish(self) -> bool:
        """Whether all of it is here now; then it is a content. Raises INVALID_REQUEST where it is another."""
        if self.offset < self.file.size:
            return False
        self._depot.finish(self._tenant, self.file, self._at)
        return True

    def close(self) -> None:
        os.close(self._descriptor)


def check_content(file: StoredFile, at: Path) -> None:
    """Raises INVALID_REQUEST where a file is not what its name says, or runs code when it is loaded."""
    try:
        if file.path.endswith(".gguf"):
            check_contents(at)
        elif file.path.endswith(".safetensors"):
            check_file(at)
    except Refusal as refusal:
        why = refusal.sentence.replace(str(at), file.path)
        raise Refusal(Reason.INVALID_REQUEST, f"files: {why}", param="files") from refusal
    with store_errors(at.parent), at.open("rb") as opened:
        start = opened.read(2)
    if start[:1] == b"\x80" and start[1:] and start[1] in _PICKLE_PROTOCOLS:
        raise Refusal(
            Reason.INVALID_REQUEST, f"files: {file.path!r} begins as a pickle does: such files run code when they are loaded",
            param="files",
        )  # fmt: skip
