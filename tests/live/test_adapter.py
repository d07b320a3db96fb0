"""llama.cpp with the bundled model and a LoRA adapter on it."""

import asyncio
from pathlib import Path

from tests.engines.adapters import write_adapter
from tests.engines.orders import order, run

from millrace.base.clock import SystemClock
from millrace.catalog.bundled import PATH
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.protocol import EngineState
from millrace.generation.prompt import TextPrompt

Likely = list[tuple[str, float]]


def engine(adapter: Path | None) -> EmbeddedEngine:
    settings = EmbeddedSettings(
        model="tuned", path=str(PATH), adapter=None if adapter is None else str(adapter), context_tokens=256, slots=1,
        threads=1, embeddings=False,
    )  # fmt: skip
    return EmbeddedEngine(settings, SystemClock())


def likely(adapter: Path | None) -> Likely:
    """The most likely first tokens of a text, with their log-likelihoods."""

    async def asked() -> Likely:
        made = engine(adapter)
        await made.start()
        try:
            assert await made.decided() is EngineState.READY, made.failure
            given = order(TextPrompt(text="Where is my"), max_tokens=1, logprobs=True, top_logprobs=10, temperature=0.0)
            found = [logprob for chunk in await run(made, given) for logprob in chunk.logprobs or ()]
            return [(token, round(value, 4)) for token, value in found[0].top]
        finally:
            await made.close()

    return asyncio.run(asked())


def test_an_adapter_changes_what_the_model_says(tmp_path: Path) -> None:
    """The likelihoods are others with it; with one whose weights are all nought they are the base's."""
    base = likely(None)
    assert likely(write_adapter(tmp_path / "nothing.gguf", 0.0)) == base
    changed = likely(write_adapter(tmp_path / "random.gguf", 0.2))
    assert changed != base
    assert max(abs(one - other) for (_, one), (_, other) in zip(changed, base, strict=True)) > 0.01


def test_an_adapter_that_is_gone_is_named(tmp_path: Path) -> None:
    """The engine fails with the file's name and what to do, for the operator."""

    async def asked() -> str | None:
        made = engine(tmp_path / "gone.gguf")
        await made.start()
        await made.decided()
        failure = made.failure
        await made.close()
        return failure

    assert "gone.gguf is gone; restore it from a backup" in (asyncio.run(asked()) or "")


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    """A damaged file stops its engine with a sentence, not the server."""
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(100))

    async def asked() -> tuple[EngineState, str | None]:
        made = engine(tmp_path / "damaged.gguf")
        await made.start()
        state, failure = await made.decided(), made.failure
        await made.close()
        return state, failure

    state, failure = asyncio.run(asked())
    assert state is EngineState.FAILED
    assert "damaged.gguf" in (failure or "")
