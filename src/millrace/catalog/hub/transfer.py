"""One file from a source into the store: in ranges, several at once, taken up where it was left, and checked.

The ranges of all files of a pull share `lanes`, so that there are never more requests than the operator allows. A range
that is cut goes on where it was cut; only failures in a row without a byte count as attempts. That the file at the source
is still the same is asked with each range (If-Range, ETag, total size); if not, this file begins anew. Its SHA-256 is
computed behind the writing, and what is not what the hub promised is thrown away and fetched once more.
"""

import asyncio
import os
from collections import deque
from collections.abc import Coroutine, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.answers import Changed, Target, Whole, check_answer, key_of, known, mismatch
from millrace.catalog.hub.digest import Digest
from millrace.catalog.hub.door import Door, Passing, Refused, shown
from millrace.catalog.hub.partial import About, Partial
from millrace.catalog.hub.piece import Piece
from millrace.catalog.hub.ranges import Range, pieces
from millrace.catalog.hub.show import Show
from millrace.catalog.hub.values import RemoteFile
from millrace.catalog.weights.blobs import Blobs
from millrace.catalog.weights.durable import store_errors, try_lock
from millrace.catalog.weights.values import StoredFile

PIECE_BYTES: Final = 32 << 20
"""One request: large enough that its latency does not count, small enough that the last lanes end together."""

STARTS_MAX: Final = 3
"""How often a file begins anew before its source is given up."""

LOCK_WAIT_S: Final = 0.5
"""Between looks whether another command has fetched a file."""


class Transfer:
    """Files of one source into one store. `lanes` is how many requests there are at once."""

    def __init__(self, door: Door, blobs: Blobs, clock: Clock, show: Show, lanes: int, piece_bytes: int = PIECE_BYTES) -> None:
        self._door = door
        self._blobs = blobs
        self._clock = clock
        self._show = show
        self._lanes = lanes
        self._free_lanes = asyncio.Semaphore(lanes)
        self._piece_bytes = piece_bytes

    async def fetch(self, source: str, file: RemoteFile, size: int, validator: str | None = None) -> StoredFile:
        """The file as a blob. Another command that fetches the same is waited for. Raises Refused and Refusal."""
        key = key_of(source, file)
        lock = self._blobs.partial / f"{key}.lock"
        with store_errors(self._blobs.root):
            descriptor = await self._lock(lock, file.path)
            try:
                if file.sha256 is not None and self._blobs.has(file.sha256, size):
                    return StoredFile(path=file.path, sha256=file.sha256, size=size)
                return await self._fetch(key, source, file, size, validator)
            finally:
                lock.unlink(missing_ok=True)
                os.close(descriptor)

    async def _lock(self, lock: Path, path: str) -> int:
        told = False
        while (descriptor := try_lock(lock)) is None:
            if not told:
                self._show.say(f"another command is fetching {path}; waiting for it")
                told = True
            await self._clock.sleep(LOCK_WAIT_S)
        return descriptor

    async def _fetch(self, key: str, source: str, file: RemoteFile, size: int, validator: str | None) -> StoredFile:
        hashed = known(file)
        about = About(
            source=source, path=file.path, size=size, sha256=file.sha256, git_sha1=file.git_sha1,
            validator=None if hashed else validator,
        )  # fmt: skip
        target = Target(file=file, size=size, about=about, validator=about.validator)
        with Partial(self._blobs.partial, key) as partial:
            await asyncio.to_thread(partial.open, about)
            if about.validator is None and not hashed:
                partial.begin_anew(about)
            sha256 = await self._until_right(target, partial)
            self._blobs.adopt(partial.data, sha256)
            partial.discard()
        return StoredFile(path=file.path, sha256=sha256, size=size)

    async def _until_right(self, target: Target, partial: Partial) -> str:
        """The SHA-256 of the whole file, once it is what it should be."""
        sentence = ""
        for _ in range(STARTS_MAX):
            self._show.begin(target.file.path, target.size, partial.count)
            try:
                digest = await self._once(target, partial)
                wrong = mismatch(target.file, digest)
                if wrong is None:
                    return digest.sha256
                sentence = f"{target.file.path} came with other content than its hub says ({wrong})"
            except Whole:
                target.ranged = False
            except Changed:
                if known(target.file) and target.tagged:
                    target.tagged, target.validator = False, None
                    continue
                sentence = f"{target.file.path} changes at its source while it is fetched"
            target.final, target.validator = None, target.about.validator
            partial.begin_anew(target.about)
        raise Refusal(
            Reason.CONFLICT, f"{sentence}; pull again later, or from another mirror; nothing of it was kept", param="ref"
        )

    async def _once(self, target: Target, partial: Partial) -> Digest:
        """Fetch all that is missing, with the digest following. Raises Changed and Whole."""
        digest = Digest(target.size, git=target.file.git_sha1 is not None)
        behind = asyncio.Lock()

        async def follow() -> None:
            async with behind:
                await asyncio.to_thread(digest.advance, partial.read, partial.front)

        most = self._piece_bytes if target.ranged else max(target.size, 1)
        todo = deque(pieces(target.size, partial.done, most))

        async def lane() -> None:
            while todo:
                async with self._free_lanes:
                    if todo:
                        await self._piece(target, partial, todo.popleft())
                await follow()

        await together(lane() for _ in range(min(self._lanes, len(todo))))
        await follow()
        return digest

    async def _piece(self, target: Target, partial: Partial, wanted: Range) -> None:
        piece = Piece(wanted, lambda start, content: self._put(target, partial, start, content))
        failures = 0
        while not piece.done:
            before = piece.at
            try:
                await self._stream(target, piece)
            except Refused as refused:
                if refused.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise Changed from None
                if target.final is None:
                    raise
                target.final = None  # an address that a redirect gave us may have run out
                failure = Passing(str(refused))
            except Passing as passing:
                failure = passing
            else:
                failure = Passing(f"{shown(target.file.url)} ended too early")
            if not piece.done:
                failures = 1 if piece.at > before else failures + 1
                await self._wait(failure, failures)
                if not target.ranged:
                    raise Whole

    async def _wait(self, passing: Passing, failures: int) -> None:
        patience = self._door.patience
        if failures >= patience.attempts:
            raise passing
        wait_s = max(min(patience.first_wait_s * 2 ** (failures - 1), patience.wait_s_max), passing.wait_s or 0)
        if passing.wait_s or failures > 1:
            self._show.say(f"{passing.sentence}; trying again in {wait_s:g} s")
        await self._clock.sleep(wait_s)

    async def _stream(self, target: Target, piece: Piece) -> None:
        """Fetch what is missing of a piece, as far as the connection goes; all that came is on disk afterwards."""
        headers = {}
        if target.ranged:
            headers["Range"] = f"bytes={piece.at}-{piece.end - 1}"
            if target.validator is not None:
                headers["If-Range"] = target.validator
        async with self._door.get(target.final or target.file.url, headers) as answer:
            check_answer(target, piece, answer)
            try:
                async for chunk in answer.body.iter_any():
                    piece.take(chunk)
                    if piece.full:
                        return
            finally:
                piece.flush()

    def _put(self, target: Target, partial: Partial, start: int, content: bytes) -> None:
        partial.write(start, content)
        self._show.add(target.file.path, len(content))


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first that fails ends the others, and its failure is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
