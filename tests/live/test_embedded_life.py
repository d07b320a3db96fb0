"""The child process of llama.cpp: born, killed, restarted, orphaned, and what it says when it cannot serve."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.engines.orders import order, run, state_of

from millrace.base.clock import SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.bundled import PATH
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.process import Process
from millrace.engines.protocol import EngineState

ORPHAN = """
import asyncio, sys
from millrace.base.clock import SystemClock
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings

async def main():
    engine = EmbeddedEngine(EmbeddedSettings(model="tiny", path=sys.argv[1], context_tokens=128, threads=1), SystemClock())
    await engine.start()
    await engine.decided()
    print(engine.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def play(scene: Callable[[EmbeddedEngine], Awaitable[None]], path: Path = PATH, **settings: object) -> None:
    async def staged() -> None:
        declared = {"model": "tiny", "path": str(path), "context_tokens": 128, "threads": 1, "embeddings": False, **settings}
        engine = EmbeddedEngine(EmbeddedSettings(**declared), SystemClock())  # type: ignore[arg-type]
        await engine.start()
        await engine.decided()
        try:
            await scene(engine)
        finally:
            await engine.close()

    asyncio.run(staged())


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie (one that we do not own is reaped by init)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_closing_leaves_no_process() -> None:
    """Closed twice: stopped once, reaped, and no order is taken any more."""

    async def scene(engine: EmbeddedEngine) -> None:
        pid = engine.pid
        assert pid is not None
        assert alive(pid)
        await engine.close()
        await engine.close()
        assert not alive(pid)
        assert engine.state is EngineState.STOPPED
        with pytest.raises(Refusal):
            await run(engine, order())

    play(scene)


def test_a_killed_child_fails_its_orders_and_is_replaced() -> None:
    """In work: ENGINE_FAILED. Meanwhile: ENGINE_UNAVAILABLE with a time to come back. Then: a new child that works."""

    async def scene(engine: EmbeddedEngine) -> None:
        chunks = engine.generate(order(max_tokens=100, logit_bias={"2": -100}))
        await anext(chunks)
        first = engine.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Refusal) as in_work:
            async for _ in chunks:
                pass
        while state_of(engine) is EngineState.READY:
            await asyncio.sleep(0.001)
        with pytest.raises(Refusal) as meanwhile:
            await run(engine, order())
        assert in_work.value.reason is Reason.ENGINE_FAILED
        assert (meanwhile.value.reason, meanwhile.value.retry_after_s) == (Reason.ENGINE_UNAVAILABLE, 2)
        assert engine.failure is not None
        assert "SIGKILL" in engine.failure
        while state_of(engine) is not EngineState.READY:
            await asyncio.sleep(0.01)
        assert engine.pid != first
        assert await run(engine, order(max_tokens=3))
        assert not alive(first)

    play(scene)


def test_the_child_dies_with_a_parent_that_is_killed() -> None:
    """kill -9 leaves no orphan that keeps the memory."""

    async def scene() -> int:
        parent = await Process.spawn([sys.executable, "-c", ORPHAN, str(PATH)], b"")
        child = int(await parent.line())
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        await parent.stop()
        return child

    child = asyncio.run(scene())
    until = time.monotonic() + 3
    while alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(child)


def test_the_child_ends_when_its_standard_input_does() -> None:
    """The way that works on every system: the parent's end of the pipe closes."""

    async def scene(engine: EmbeddedEngine) -> None:
        assert engine._server is not None
        process = engine._server._process._process
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 3) == 0

    play(scene)


def test_the_secret_is_in_no_argument_and_no_environment(capfd: pytest.CaptureFixture[str]) -> None:
    """And nothing that llama.cpp prints reaches the terminal; without the key nothing is answered."""

    async def scene(engine: EmbeddedEngine) -> None:
        await run(engine, order(max_tokens=2))
        assert engine._server is not None
        key = engine._server._api_key.encode()
        for secret_place in ("cmdline", "environ"):
            assert key not in read(f"/proc/{engine.pid}/{secret_place}")
        assert engine._links is not None
        client = engine._links.counting
        del client._session._default_headers["Authorization"]
        with pytest.raises(Refusal, match="401"):
            await client.get("/slots")

    play(scene)
    assert capfd.readouterr() == ("", "")


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def damaged(tmp_path: Path) -> Path:
    file = tmp_path / "cut.gguf"
    file.write_bytes(PATH.read_bytes()[:200_000])
    return file


def foreign(tmp_path: Path) -> Path:
    file = tmp_path / "page.gguf"
    file.write_text("<html>Not found</html>")
    return file


def missing(tmp_path: Path) -> Path:
    return tmp_path / "none.gguf"


@pytest.mark.parametrize(
    ("file", "said"), [(damaged, "corrupted or incomplete"), (foreign, "expected 'GGUF'"), (missing, "there is no file")]
)
def test_a_file_that_cannot_be_served_is_named(file: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    """FAILED, with the model, the file, the reason and what to do."""
    path = file(tmp_path)

    async def scene(engine: EmbeddedEngine) -> None:
        assert engine.state is EngineState.FAILED
        assert engine.failure is not None
        assert "'tiny'" in engine.failure
        assert str(path) in engine.failure
        assert said in engine.failure
        assert "pull" in engine.failure

    play(scene, path)


def test_a_context_beyond_the_file_is_a_bad_setting() -> None:
    """Said with the number that would do, not quietly made smaller."""

    async def scene(engine: EmbeddedEngine) -> None:
        assert engine.state is EngineState.FAILED
        assert "or fewer" in str(engine.failure)

    play(scene, context_tokens=10_000)


def test_what_llama_cpp_prints_goes_to_its_log(tmp_path: Path) -> None:
    """A file that only its owner can read."""
    log = tmp_path / "llama.log"

    async def scene(engine: EmbeddedEngine) -> None:
        assert engine.state is EngineState.FAILED

    play(scene, foreign(tmp_path), log=str(log))
    assert "failed to load model" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
