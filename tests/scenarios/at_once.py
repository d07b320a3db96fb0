"""What makes a simulation play the same story for the same seed: no threads, and a folder without a disk under it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class AtOnce(ThreadPoolExecutor):
    """Threads would come and go as they please."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the future's
            future.set_exception(error)
        return future


@contextmanager
def memory_folder() -> Iterator[Path]:
    """In memory where there is such a place: the journal's syncs cost nothing there."""
    fast = Path("/dev/shm")  # noqa: S108 - a place for the journal's files, removed below
    made = Path(tempfile.mkdtemp(dir=fast if fast.is_dir() else None))
    try:
        yield made
    finally:
        shutil.rmtree(made)
