"""An archive, opened and believed only as far as its hashes go."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec

from millrace.archive.manifest import (
    MANIFEST_BYTES_MAX,
    NAME,
    Manifest,
    Part,
    TablePart,
    damaged,
    parse_manifest,
)
from millrace.base.errors import Reason, Refusal
from millrace.store.tables import PAGE_ROWS, Row

COPY_BYTES: Final = 1024 * 1024

_TYPES: Final[dict[str, Any]] = {"integer": int | None, "text": str | None, "bytes": bytes | None}

_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, msgspec.DecodeError, NotImplementedError, RuntimeError)
"""What reading a ZIP file that was damaged, or is none of ours, can raise."""

Progress = Callable[[str], None]
"""Told in a few words how far it is."""


class Archive:
    """`called` is what refusals call it. Raises a Refusal where it is not there or not whole."""

    def __init__(self, path: Path, *, called: str | None = None) -> None:
        self.called = called or str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise Refusal(Reason.NOT_FOUND, f"there is no backup {self.called}") from None
        except OSError as error:
            raise Refusal(Reason.BAD_SETTING, f"the backup {self.called} cannot be read: {error.strerror}") from error
        except _BROKEN as error:
            raise damaged(self.called, str(error)) from None
        try:
            self.manifest: Manifest = parse_manifest(self._manifest(), self.called)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def verify(self, progress: Progress) -> None:
        """Every byte against its hash, before anything is made of it."""
        for part in self.manifest.parts:
            progress(f"checking {part.member}")
            for _ in self.blocks(part):
                pass

    def blocks(self, part: Part) -> Iterator[bytes]:
        """What a part holds. After the last block a Refusal where it is not what the manifest says."""
        sha256, size = hashlib.sha256(), 0
        with self._open(part) as file:
            while block := self._read(file, part):
                sha256.update(block)
                size += len(block)
                yield block
        if (size, sha256.hexdigest()) != (part.size, part.sha256):
            raise damaged(self.called, f"{part.member} is not what its manifest says")

    def pages(self, table: TablePart) -> Iterator[list[Row]]:
        """The rows of a table, in their order, so many at once; fewer or more than the manifest says are refused."""
        decoder = msgspec.json.Decoder(tuple[tuple(_TYPES[column.kind] for column in table.columns)])  # type: ignore[misc]
        count = 0
        try:
            with self._open(table) as file:
                while lines := list(islice(file, PAGE_ROWS)):
                    count += len(lines)
                    yield [decoder.decode(line) for line in lines]
        except _BROKEN as error:
            raise damaged(self.called, f"{table.member}: {error}") from None
        if count != table.rows:
            raise damaged(self.called, f"{table.member} has {count} rows, not {table.rows}")

    def _manifest(self) -> bytes:
        try:
            with self._zip.open(NAME) as file:
                return file.read(MANIFEST_BYTES_MAX)
        except KeyError:
            raise damaged(self.called, f"it has no {NAME}") from None
        except _BROKEN as error:
            raise damaged(self.called, str(error)) from None

    def _open(self, part: Part) -> IO[bytes]:
        try:
            return self._zip.open(part.member)
        except (KeyError, *_BROKEN):
            raise damaged(self.called, f"{part.member} is missing") from None

    def _read(self, file: IO[bytes], part: Part) -> bytes:
        try:
            return file.read(COPY_BYTES)
        except _BROKEN as error:
            raise damaged(self.called, f"{part.member}: {error}") from None
