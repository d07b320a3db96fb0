"""`kill -9` of one worker after another under load: what clients got and what they are billed for."""

import asyncio
import os
import random
import signal
from pathlib import Path

from tests.races.cloud import Cloud, Stream, cloud

KILLS = int(os.environ.get("MILLRACE_KILLS", "6"))
STREAMS = 60
TOKENS = 60


def workers_of(server: Cloud) -> list[int]:
    """Process ids of the children that are workers."""
    assert server.process is not None
    found = []
    for pid in Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split():
        try:
            if "cli.worker" in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(int(pid))
        except OSError:
            continue
    return found


async def load(server: Cloud, chance: random.Random) -> list[Stream]:
    """Streams of which a third leave somewhere, and one worker or both killed in the middle of them."""
    streams = [Stream(server, TOKENS) for _ in range(STREAMS)]
    leaving = [chance.randint(1, TOKENS) if chance.random() < 1 / 3 else None for _ in streams]
    running = [asyncio.create_task(stream.run(after)) for stream, after in zip(streams, leaving, strict=True)]
    await asyncio.wait(running, timeout=chance.uniform(0.1, 1.5))
    victims = workers_of(server)
    for pid in victims if chance.random() < 1 / 4 else victims[:1]:
        os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*running)
    return streams


def test_receipts_after_kills_of_workers_equal_what_clients_got(tmp_path: Path) -> None:
    """The server is never down: after each kill nobody is billed for a token he did not get, each that he got is billed or
    waived, and what ended by itself is billed to the token; in the end nothing is held and the audit is ok."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    cut = finished = 0
    with cloud(tmp_path / "home", "--tokens", str(TOKENS), "--token-delay-ms", "10") as server:
        server.start("--workers", "2")
        server.command("grant", "create", "--tenant", "demo", "--amount", "1000.00")
        everyone = [stream for _ in range(KILLS) for stream in asyncio.run(load(server, chance))]
        assert server.stop() == 0
        server.start()
        for stream in everyone:
            if not stream.request_id:
                continue
            tokens = server.get(f"/v1/receipts/{stream.request_id}")["tokens"]
            assert tokens["output"] <= stream.tokens <= tokens["output"] + tokens["waived"], (stream.request_id, tokens)
            assert not stream.finished or stream.tokens == tokens["output"] == TOKENS
            finished += stream.finished
            cut += not stream.finished
        assert server.command("audit")["ok"]
        assert server.command("balance", "--tenant", "demo")["held"] == "0.000000000"
        assert server.stop() == 0
    print(f"{KILLS} kills, {cut} streams cut or left, {finished} ended whole")
    assert cut > KILLS
    assert finished > KILLS
