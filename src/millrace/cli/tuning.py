"""The supervisor's process: started by a server with a `Place` on stdin, which ends when the server does."""

import asyncio
import contextlib
import os
import signal
import sys
import threading

from millrace import schema
from millrace.base.errors import Refusal
from millrace.cli.logs import log_to_stderr
from millrace.making.tuning import Place, parse_place, supervising


def main() -> None:
    """Work until no job waits, or the server is gone."""
    log_to_stderr()
    place = parse_place(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    try:
        asyncio.run(work(place, until_empty=True))
    except Refusal as refusal:
        sys.exit(f"millrace tune worker: {refusal.sentence}")


async def work(place: Place, *, until_empty: bool) -> None:
    """Take jobs until told to stop; SIGTERM and SIGINT let the trainer save first."""
    with contextlib.closing(schema.open_database(place.database)) as db:
        async with supervising(db, place) as supervisor:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
            await supervisor.run(until_empty=until_empty)


def _end_with_the_server() -> None:
    """The end of standard input is the server's, however it ended: what is held is given back by whoever comes next."""
    while os.read(0, 1):  # past Python's buffer, whose lock would keep an interpreter that ends from ending
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
