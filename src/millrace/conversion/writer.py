"""Writes a GGUF tensor by tensor: room is looked for first, and the file appears whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.conversion.numbers import encode, nbytes

if TYPE_CHECKING:
    from millrace.conversion.checkpoint import Floats

SPARE_BYTES: Final = 64 << 20
"""For the head of the file, whose vocabulary has some megabytes, and for everybody else on that disk."""

ALIGNMENT: Final = 32

Progress = Callable[[int], None]
"""Told how many bytes more are written."""


class Plan(NamedTuple):
    """One tensor to write; `rows` yields it in pieces of whole rows."""

    name: str
    shape: tuple[int, ...]
    kind: str
    rows: "Callable[[], Iterator[Floats]]"

    @property
    def size(self) -> int:
        return nbytes(self.kind, prod(self.shape))


def write(to: Path, architecture: str, describe: Callable[[Any], None], plans: Sequence[Plan], progress: Progress) -> int:
    """The file's size. `describe` puts the metadata into gguf's writer. Raises STORE_UNAVAILABLE where the disk does not do."""
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        _check_room(to.parent, sum(plan.size for plan in plans))
        _write(part, architecture, describe, plans, progress)
        size = part.stat().st_size
        part.replace(to)
        _sync(to.parent)
    except OSError as error:
        raise Refusal(Reason.STORE_UNAVAILABLE, f"{to} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return size


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise Refusal(
            Reason.STORE_UNAVAILABLE,
            f"the disk of {folder} has {free:,} bytes free, and the converted model needs {needed + SPARE_BYTES:,}; make room, "
            "or name another place with --to",
        )


def _write(part: Path, architecture: str, describe: Callable[[Any], None], plans: Sequence[Plan], progress: Progress) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(part, architecture)
    try:
        describe(writer)
        for plan in plans:
            writer.add_tensor_info(
                plan.name, plan.shape, np.dtype(np.float32), plan.size, raw_dtype=gguf.GGMLQuantizationType[plan.kind]
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        file = writer.fout[0]
        _pad(file)
        for plan in plans:
            _tensor(file, plan, progress)
        file.flush()
        os.fsync(file.fileno())
    finally:
        writer.close()


def _tensor(file: Any, plan: Plan, progress: Progress) -> None:
    begin = file.tell()
    for rows in plan.rows():
        raw = encode(rows, plan.kind)
        file.write(raw.data)
        progress(raw.size)
    assert file.tell() - begin == plan.size, f"{plan.name} was not written whole"
    _pad(file)


def _pad(file: Any) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
