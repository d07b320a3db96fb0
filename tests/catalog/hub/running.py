"""A hub for programs that have an event loop of their own: it runs in a thread."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from millrace.catalog.hub.fake import FakeHub, Repo


@contextmanager
def running_hub(repos: Mapping[str, Repo]) -> Iterator[FakeHub]:
    """Up while the block runs. Its plan of faults may be set from here; what it has seen may be read."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def enter() -> FakeHub:
        return await FakeHub(repos).__aenter__()

    try:
        hub = asyncio.run_coroutine_threadsafe(enter(), loop).result(10)
        try:
            yield hub
        finally:
            loop.call_soon_threadsafe(hub.release)
            asyncio.run_coroutine_threadsafe(hub.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
