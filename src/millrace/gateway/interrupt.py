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
        """End what runs. Called by the running task itself it only leaves word, which `interruptible` finds at its end."""
        if self.cause is not None:
            return
        self.cause = cause
        if self._task is not None and self._task is not asyncio.current_task():
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
            if self.cause is not None and task.uncancel() == 0:
                self._raise_if_fired()
            raise  # somebody else cancelled too: that is his to see
        finally:
            self._task = None
        self._raise_if_fired()

    def _raise_if_fired(self) -> None:
        if self.cause is not None:
            raise Interrupted(self.cause) from None
