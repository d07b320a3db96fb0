"""Writing: room first, then a file that is whole or not there."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace.base.errors import Reason, Refusal
from millrace.catalog.gguf_header import check_contents
from millrace.conversion.writer import Plan, write


def nothing(_: Any) -> None:
    """Says nothing more in the file's head, and looks at no progress."""


def ones(width: int) -> Iterator[NDArray[np.float32]]:
    yield np.ones((1, width), np.float32)


def test_room_is_looked_for_before_anything_is_written(tmp_path: Path) -> None:
    """More than any disk has is refused with both numbers, and no tensor is asked for."""

    def never() -> Any:
        raise AssertionError("asked for a tensor")

    with pytest.raises(Refusal, match="make room, or name another place with --to") as refused:
        write(tmp_path / "m.gguf", "qwen3", nothing, [Plan("x", (1 << 40, 32), "F32", never)], nothing)
    assert refused.value.reason is Reason.STORE_UNAVAILABLE
    assert list(tmp_path.iterdir()) == []


def test_tensors_are_aligned_and_whole(tmp_path: Path) -> None:
    """Sizes that are no multiple of the alignment are filled up; the size that is told is the file's."""
    plans = [Plan(f"t{width}", (width,), "F32", partial(ones, width)) for width in (3, 5)]
    size = write(tmp_path / "m.gguf", "qwen3", nothing, plans, nothing)
    assert (tmp_path / "m.gguf").stat().st_size == size
    check_contents(tmp_path / "m.gguf")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """One sentence that names the file."""
    with pytest.raises(Refusal, match=r"nowhere/m\.gguf cannot be written"):
        write(tmp_path / "nowhere" / "m.gguf", "qwen3", nothing, [], nothing)
