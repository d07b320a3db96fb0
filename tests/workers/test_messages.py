"""What passes between a parent and a worker arrives as it was sent, and an end is noticed."""

import asyncio
import socket
from pathlib import Path

from msgspec.structs import replace

from millrace.engines.embedded.follower import Standing
from millrace.engines.embedded.links import Place
from millrace.engines.protocol import EngineState
from millrace.settings.parse import load
from millrace.workers.messages import Channel, Collected, Down, EngineNews, Ready, Task, Up

STANDING = Standing(state=EngineState.READY, place=Place(url="http://127.0.0.1:1", embeddings_url=None, api_key="secret"))


def test_everything_arrives_whole(tmp_path: Path) -> None:
    """Settings with paths in them, a standing with its key, and a text of several megabytes."""
    settings = replace(load(tmp_path), models=load(tmp_path).models)
    sent: tuple[Down, ...] = (
        Task(number=1, workers=2, home=tmp_path, settings=settings), EngineNews(model="m", standing=STANDING),
        Collected("x" * 4_000_000),
    )  # fmt: skip

    async def scene() -> list[Down | None]:
        ours, theirs = socket.socketpair()
        parent: Channel[Up] = await Channel.over(ours, Up)
        worker: Channel[Down] = await Channel.over(theirs, Down)
        for message in sent:
            parent.send(message)
        received = [await worker.receive() for _ in sent]
        parent.close()
        worker.close()
        return received

    assert tuple(asyncio.run(scene())) == sent


def test_the_end_of_a_process_is_the_end_of_its_messages() -> None:
    """What was said whole is heard, what was cut off is not, and nobody waits for more."""

    async def scene() -> tuple[Up | None, Up | None]:
        ours, theirs = socket.socketpair()
        parent: Channel[Up] = await Channel.over(ours, Up)
        theirs.sendall(b'{"type":"Ready","models":[]}\n{"type":"Rea')
        theirs.close()
        heard = (await parent.receive(), await parent.receive())
        parent.close()
        return heard

    assert asyncio.run(scene()) == (Ready(()), None)


def test_what_is_printed_shows_no_key() -> None:
    """A standing may get into a log."""
    assert "secret" not in repr(STANDING)
