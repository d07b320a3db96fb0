"""Backups of a server at work, restores that are killed, and the server that starts on what was restored."""

import asyncio
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.races.cloud import MILLRACE, Cloud, Stream, cloud

STREAMS = 50
TOKENS = 150
KILLS = 12


async def back_up_under_load(server: Cloud, file: Path) -> tuple[list[Stream], dict[str, Any]]:
    """Streams that all run while the backup is made; how far each had come is read after it."""
    streams = [Stream(server, TOKENS) for _ in range(STREAMS)]
    running = [asyncio.create_task(stream.run(None)) for stream in streams]
    await asyncio.wait(running, timeout=0.5)
    form: dict[str, Any] = await asyncio.to_thread(server.command, "backup", str(file))
    tokens = {stream.request_id: stream.tokens for stream in streams}
    server.kill()
    await asyncio.gather(*running)
    return streams, {**form, "delivered": tokens}


def test_a_restored_home_bills_no_more_than_was_delivered(tmp_path: Path) -> None:
    """Backed up with 50 streams open, restored and started: each open hold is settled or voided, for what had left by then."""
    with cloud(tmp_path / "home", "--tokens", str(TOKENS), "--token-delay-ms", "30") as server:
        server.start()
        server.command("grant", "create", "--tenant", "demo", "--amount", "100.00")
        streams, form = asyncio.run(back_up_under_load(server, tmp_path / "one.zip"))
        assert form["tables"]["open_hold"] == STREAMS
        restored = Cloud(tmp_path / "restored")
        assert restored.command("restore", str(tmp_path / "one.zip"))["audit"]["ok"]
        restored.key = server.key
        try:
            restored.start()
            billed = 0
            for stream in streams:
                tokens = restored.get(f"/v1/receipts/{stream.request_id}")["tokens"]
                assert tokens["output"] <= form["delivered"][stream.request_id]
                billed += tokens["output"]
            assert billed > 0
            assert restored.command("balance", "--tenant", "demo")["held"] == "0.000000000"
            assert restored.command("audit")["ok"]
        finally:
            if restored.process is not None:
                restored.kill()


def test_a_killed_restore_leaves_nothing_half(tmp_path: Path) -> None:
    """Killed at a random moment, there is no home or a whole one; the next restore is not in its way."""
    chance = random.Random(7)
    with cloud(tmp_path / "home", "--tokens", "5", "--token-delay-ms", "0") as server:
        server.start()
        server.command("grant", "create", "--tenant", "demo", "--amount", "100.00")
        assert server.stop() == 0
        server.command("backup", str(tmp_path / "one.zip"))
    restored = Cloud(tmp_path / "restored")
    command = [*MILLRACE, "restore", str(tmp_path / "one.zip"), "--home", str(restored.home)]
    restored.home.rmdir()
    whole = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.1, 1.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if restored.home.exists():
            whole += 1
            assert restored.command("audit")["ok"]
            assert restored.command("balance", "--tenant", "demo")["balance"] == server.command(
                "balance", "--tenant", "demo"
            )["balance"]
            for path in sorted(restored.home.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            restored.home.rmdir()
    assert restored.command("restore", str(tmp_path / "one.zip"))["audit"]["ok"]
    assert [path.name for path in restored.home.parent.iterdir() if "restor" in path.name] == ["restored"]
    print(f"{KILLS} kills, {whole} of them after the rename")
