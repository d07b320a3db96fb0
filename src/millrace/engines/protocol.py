"""The Engine protocol: what the gateway asks of any program that makes tokens."""

from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.generation.chunk import Chunk, CountedBy
from millrace.generation.order import Order
from millrace.generation.prompt import Prompt


class EngineState(StrEnum):
    """The life of an engine; which step may follow which is the table `NEXT`."""

    DECLARED = "declared"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


NEXT: dict[EngineState, frozenset[EngineState]] = {
    EngineState.DECLARED: frozenset({EngineState.LOADING, EngineState.STOPPED}),
    EngineState.LOADING: frozenset({EngineState.READY, EngineState.FAILED, EngineState.STOPPED}),
    EngineState.READY: frozenset({EngineState.DRAINING, EngineState.FAILED, EngineState.STOPPED}),
    EngineState.DRAINING: frozenset({EngineState.STOPPED, EngineState.FAILED}),
    EngineState.FAILED: frozenset({EngineState.LOADING, EngineState.STOPPED}),
    EngineState.STOPPED: frozenset(),
}


def transition(now: EngineState, following: EngineState) -> EngineState:
    """The one way to change a state. Raises ValueError (a bug of the engine) for a step that is not in `NEXT`."""
    if following not in NEXT[now]:
        raise ValueError(f"an engine that is {now} cannot become {following}")
    return following


class PromptSize(Struct, frozen=True):
    """How many input tokens a prompt has. Not `exact`: an upper bound, never less than the engine will count."""

    tokens: int
    exact: bool


class Embeddings(Struct, frozen=True):
    """One vector for each text, in order, and the input tokens of all texts together."""

    vectors: tuple[tuple[float, ...], ...]
    input_tokens: int
    counted_by: CountedBy


class Engine(Protocol):
    """A program that makes tokens.

    Every method may raise `Refusal` with ENGINE_UNAVAILABLE (not ready: nothing was made, come back), ENGINE_FAILED (it
    broke while making), INVALID_REQUEST, UNSUPPORTED_PARAMETER or CONTEXT_LENGTH_EXCEEDED (the order itself cannot be
    met). Anything else that it raises is a bug of the engine.
    """

    @property
    def honours(self) -> frozenset[str]:
        """The names of `Sampling` fields this engine obeys."""
        ...

    @property
    def embeds(self) -> bool:
        """Whether `embed` can be called."""
        ...

    @property
    def state(self) -> EngineState: ...

    @property
    def failure(self) -> str | None:
        """Why the engine is not READY, for the operator: what failed and the remedy. None while nothing is wrong."""
        ...

    async def start(self) -> None:
        """Begin to become READY and return soon; loading goes on by itself, restarts with back-off included."""
        ...

    async def close(self) -> None:
        """Stop and leave nothing behind: no process, no socket, no task. Safe to call twice."""
        ...

    async def measure(self, prompt: Prompt) -> PromptSize:
        """The input tokens that `generate` will count for this prompt, template included."""
        ...

    def generate(self, order: Order) -> AsyncGenerator[Chunk, None]:
        """Run the order. Closing the iterator cancels the work in the engine; nothing is made after that."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embeddings: ...


def not_ready(model: str, state: EngineState, retry_after_s: int = 2) -> Refusal:
    """The refusal of an engine that cannot take work now."""
    return Refusal(
        Reason.ENGINE_UNAVAILABLE,
        f"the engine of model {model!r} is not ready ({state}); try again in {retry_after_s} s",
        retry_after_s=retry_after_s,
    )


def broke(model: str) -> Refusal:
    """The refusal of an engine that broke while it was making tokens."""
    return Refusal(Reason.ENGINE_FAILED, f"the engine of model {model!r} broke while it answered; send the request again")


def makes_no_embeddings(model: str) -> Refusal:
    return Refusal(
        Reason.UNSUPPORTED_PARAMETER,
        f"model {model!r} makes no embeddings; GET /v1/models says which do",
        param="model",
    )
