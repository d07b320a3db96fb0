"""Ending a request from outside: the client went, the time is up, the server stops.

The one who runs the request never polls for any of these. He is cancelled, finds the reason here, and settles.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Cause(StrEnum):
    CLIENT_GONE = "client_gone"
    TIME_IS_UP = "time_is_up"
    SHUTDOWN = "shutdown"


class Interrupted(Exception):
    """Raised at the end of `interruptible` when somebody interrupted what ran in it."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


class Interrupt:
    """The handle by which one running request can be ended, once; later causes change nothing."""

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self._task: asyncio.Task[object] | None = None

    def fire(self, cause: Cause) -> None:
        if self.cause is None:
            self.cause = cause
            if self._task is not None:
                self._task.cancel()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What runs inside ends with `Interrupted` as soon as the interrupt fires, at once if it has already."""
        self._raise_if_fired()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        try:
            yield
        except asyncio.CancelledError:
            if self._is_ours(task):
                self._raise_if_fired()
            raise  # somebody else cancelled too: that is his to see
        finally:
            self._task = None
        if self._is_ours(task):  # it fired with nothing left to await: its cancellation must not hit what follows
            self._raise_if_fired()

    def _is_ours(self, task: asyncio.Task[object]) -> bool:
        """Take our cancellation back, and say whether it was the only one."""
        return self.cause is not None and task.uncancel() == 0

    def _raise_if_fired(self) -> None:
        if self.cause is not None:
            raise Interrupted(self.cause) from None
