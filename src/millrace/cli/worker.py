"""One worker of `millrace up --workers N`: started by it with the descriptors of socket, channel and tally."""

import asyncio
import contextlib
import logging
import os
import socket
import sys

from millrace import schema, wiring
from millrace.base.errors import Refusal
from millrace.cli.logs import log_to_stderr
from millrace.cli.serving import model_states, run_until_told, serve_cloud, warn_of_recovery
from millrace.gateway.accepting import Tally
from millrace.settings.home import Home
from millrace.workers.member import Member
from millrace.workers.messages import Channel, Down, Ready, Refused, Task


def main() -> None:
    """Serve until told to stop, or until the parent is gone."""
    listener, channel, tally = (_inherited(descriptor) for descriptor in sys.argv[1:4])
    run_until_told(_work(socket.socket(fileno=listener), socket.socket(fileno=channel), tally))


def _inherited(argument: str) -> int:
    """A descriptor that goes no further than this process."""
    descriptor = int(argument)
    os.set_inheritable(descriptor, False)
    return descriptor


async def _work(listener: socket.socket, end: socket.socket, tally: int) -> None:
    channel: Channel[Down] = await Channel.over(end, Down)
    task = await channel.receive()
    if not isinstance(task, Task):
        return  # the parent was gone before it said anything
    log_to_stderr(task.settings.logs)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: _signed(record, task.number))
    home = Home(task.home)
    member = Member(task, channel, Tally(tally, task.workers, task.number))
    try:
        with contextlib.closing(schema.connect(task.settings.store.place(home.path))) as db:  # migrated by the parent
            await _serve(wiring.Cloud(home, task.settings, db, member=member), listener, channel)
    except Refusal as refusal:
        channel.send(Refused(refusal.sentence))
        await channel.flushed()


async def _serve(cloud: wiring.Cloud, listener: socket.socket, channel: Channel[Down]) -> None:
    def ready() -> None:
        warn_of_recovery(cloud)
        channel.send(Ready(model_states(cloud)))

    assert cloud.member is not None
    listening = asyncio.create_task(cloud.member.listen(cloud.gateway.metrics_text))
    try:
        await serve_cloud(cloud, listener, ready)
    finally:
        listening.cancel()


def _signed(record: logging.LogRecord, number: int) -> bool:
    """Each event says which worker it is from."""
    record.fields = {**getattr(record, "fields", {}), "worker": number}
    return True


if __name__ == "__main__":
    main()
