"""A home into an archive, while a server runs or not.

The progress journal is copied before the tables are read, never after. What the journal says then is at most what the
requests that are open in the tables had come to: settled by it, they are billed for no more than was delivered. Copied
after, it could speak of what requests did beyond the snapshot, or, of those settled meanwhile, not at all.

The tables are read in one snapshot. It holds no writer up; on SQLite the write-ahead log grows until the last row is read.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec.structs import replace

from millrace import __version__
from millrace.archive.manifest import FORMAT, NAME, VERSION, ChainHead, Manifest, Part, TablePart, render_manifest
from millrace.archive.read import Archive, Progress
from millrace.base.errors import Reason, Refusal
from millrace.base.times import render_time
from millrace.catalog.tuned.files import FOLDER as ADAPTERS
from millrace.catalog.tuned.files import AdapterFiles
from millrace.money.metering.journal import segments
from millrace.store.database import Database
from millrace.store.tables import Row, Table, pages, schema_number, tables
from millrace.store.transaction import Tx
from millrace.tuning.files.shelf import FOLDER as SHELF
from millrace.tuning.files.shelf import Shelf

COPY_BYTES: Final = 1024 * 1024

COMPRESSION: Final = 1
"""The fastest: more of it makes rows smaller by a tenth and takes several times as long."""

NEWEST_FIRST: Final = frozenset({"epoch"})
"""Tables whose rows refer to newer rows of their own: an epoch that was taken over names who took it."""

JOURNAL: Final = "journal"
"""The folder of the progress journal, in a home and in an archive."""

OWN_NAME: Final = "home"
"""The file in it with the name that epochs go by: whose journal it is."""


def write_archive(
    db: Database, home: Path, destination: Path, *, settings: Path, now: int, progress: Progress,
    look: Callable[[Tx], None] = lambda _: None,
) -> Manifest:  # fmt: skip
    """Write, read back, and only then give the file its name. `look` sees the very snapshot that was written.

    Refuses to replace a file. Where there is no file `settings`, the archive has none.
    """
    half = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(half, "x", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
            half.chmod(0o600)
            files = tuple(_files(archive, home, settings))
            manifest = db.read(lambda tx: _tables(tx, archive, files, now, progress, look))
            manifest = replace(manifest, files=(*manifest.files, *_adapters(archive, home), *_shelf(archive, home)))
            archive.writestr(NAME, render_manifest(manifest))
        with Archive(half, called=str(destination)) as written:
            written.verify(progress)
        _sync(half)
        os.link(half, destination)
    except FileExistsError:
        raise Refusal(Reason.CONFLICT, f"{destination} exists already; name another file") from None
    except OSError as error:
        raise Refusal(
            Reason.STORE_UNAVAILABLE,
            f"the backup {destination} cannot be written ({error.strerror}); name a file in a folder that has room",
        ) from error
    finally:
        half.unlink(missing_ok=True)
    _sync(destination.parent)
    return manifest


def _files(archive: zipfile.ZipFile, home: Path, settings: Path) -> Iterator[Part]:
    """The settings, then the journal. A segment that is begun while we copy has what its forerunner had, which may be gone."""
    for path, member in ((settings, "millrace.toml"), (home / JOURNAL / OWN_NAME, f"{JOURNAL}/{OWN_NAME}")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            yield _add(archive, f"files/{member}", _blocks(file))
    seen: set[Path] = set()
    while new := [path for path in segments(home / JOURNAL) if path not in seen]:
        for path in new:
            seen.add(path)
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                yield _add(archive, f"files/{JOURNAL}/{path.name}", _blocks(file))


def _adapters(archive: zipfile.ZipFile, home: Path) -> Iterator[Part]:
    """What tenants tuned, which is nowhere else. After the tables: each model of theirs that is not removed has its file."""
    for path in AdapterFiles(home).all():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            yield _add(archive, f"files/{ADAPTERS}/{path.name}", _blocks(file))


def _shelf(archive: zipfile.ZipFile, home: Path) -> Iterator[Part]:
    """The files that tenants sent. Checkpoints are not among them: a job that was running begins anew, and is billed once."""
    for path in Shelf(home).all():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            yield _add(archive, f"files/{SHELF}/{path.name}", _blocks(file))


def _tables(
    tx: Tx, archive: zipfile.ZipFile, files: tuple[Part, ...], now: int, progress: Progress, look: Callable[[Tx], None]
) -> Manifest:
    chains: list[ChainHead] = []
    parts = tuple(_table(tx, archive, table, progress, chains) for table in tables(tx))
    look(tx)
    return Manifest(
        format=FORMAT, version=VERSION, made_at=render_time(now), made_by=__version__, schema=schema_number(tx),
        chains=tuple(chains), tables=parts, files=files,
    )  # fmt: skip


def _table(tx: Tx, archive: zipfile.ZipFile, table: Table, progress: Progress, chains: list[ChainHead]) -> TablePart:
    encoder = msgspec.json.Encoder()
    count = 0

    def blocks() -> Iterator[bytes]:
        nonlocal count
        for page in pages(tx, table, newest_first=table.name in NEWEST_FIRST):
            count += len(page)
            progress(f"{table.name}: {count:,} rows")
            if table.name == "chain":
                chains.extend(_chain(table, row) for row in page)
            yield encoder.encode_lines(page)

    part = _add(archive, f"tables/{table.name}.jsonl", blocks())
    return TablePart(
        member=part.member, size=part.size, sha256=part.sha256, table=table.name, columns=table.columns, rows=count
    )


def _chain(table: Table, row: Row) -> ChainHead:
    value = dict(zip(table.column_names, row, strict=True))
    number, length, head = value["number"], value["length"], value["head"]
    assert isinstance(number, int)
    assert isinstance(length, int)
    assert isinstance(head, bytes)
    return ChainHead(number=number, length=length, head=head.hex())


def _add(archive: zipfile.ZipFile, member: str, blocks: Iterable[bytes]) -> Part:
    sha256, size = hashlib.sha256(), 0
    with archive.open(member, "w", force_zip64=True) as file:
        for block in blocks:
            file.write(block)
            sha256.update(block)
            size += len(block)
    return Part(member=member, size=size, sha256=sha256.hexdigest())


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(COPY_BYTES):
        yield block


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
