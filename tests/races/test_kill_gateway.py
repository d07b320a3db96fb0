"""`kill -9` of a whole gateway under load: what clients got and what they are billed for."""

import asyncio
import os
import random
from pathlib import Path
from typing import Final

from tests.races.cloud import Cloud, Upstream
from tests.races.gateways import PACE_MS, TOKENS, Fleet, fleet

KILLS: Final = int(os.environ.get("MILLRACE_KILLS", "20"))
STREAMS: Final = 200
RECEIPTS: Final = 100
"""So many are asked for over HTTP; all others are read from the database."""


async def kill_again_and_again(made: Fleet, chance: random.Random) -> None:
    """Each time under 200 streams of which a third leave somewhere, at any point of them."""
    (server,) = made.clouds
    for _ in range(KILLS):
        running = await made.load(STREAMS, chance)
        await asyncio.wait(running, timeout=chance.uniform(0, TOKENS * PACE_MS / 1000))
        server.kill()
        await asyncio.gather(*running)
        server.start()
    await made.rest([])


def test_receipts_after_kills_equal_what_clients_got(tmp_path: Path) -> None:
    """After each of 20 kills: nobody is billed for a token he did not get, each that he got is billed or waived, audit is ok.

    A stream that ended before the kill is billed to the token. For one that was cut by it, a chunk may have left while the
    record that it did was not written: that chunk is waived.
    """
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    with Upstream("--tokens", str(TOKENS), "--token-delay-ms", str(PACE_MS)) as upstream:
        server = Cloud(tmp_path / "home", upstream)
        with fleet([server], str(server.home / "millrace.db")) as made:
            asyncio.run(kill_again_and_again(made, chance))
            tally, findings = made.examine()
            assert findings == []
            for stream in chance.sample([one for one in made.streams if one.tokens], RECEIPTS):
                tokens = server.get(f"/v1/receipts/{stream.request_id}")["tokens"]
                assert tokens["output"] <= stream.tokens <= tokens["output"] + tokens["waived"], (stream.request_id, tokens)
            assert server.command("audit")["ok"]
            assert server.command("balance", "--tenant", "demo")["held"] == "0.000000000"
            assert server.stop() == 0
    print(f"{KILLS} kills, {tally}")
    assert tally.recovered > KILLS
    assert tally.late == 0
