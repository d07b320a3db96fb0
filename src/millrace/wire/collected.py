"""The chunks of one request gathered into whole choices, for answers that are sent at once."""

from msgspec import Struct

from millrace.generation.chunk import Chunk, Finish, TokenLogprob, ToolCallDelta
from millrace.generation.prompt import ToolCall


class Choice(Struct, frozen=True, kw_only=True):
    """One choice in full. `finish` None: it was broken off. `logprobs` None: not asked for."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class Collected:
    """Add each chunk as it comes; `choices()` is what there is so far, one for each choice that was asked for."""

    def __init__(self, choices: int = 1) -> None:
        self._parts: list[list[Chunk]] = [[] for _ in range(choices)]

    def add(self, chunk: Chunk) -> None:
        self._parts[chunk.choice].append(chunk)

    def choices(self) -> tuple[Choice, ...]:
        return tuple(_choice(index, chunks) for index, chunks in enumerate(self._parts))


def _choice(index: int, chunks: list[Chunk]) -> Choice:
    logprobs = [chunk.logprobs for chunk in chunks if chunk.logprobs is not None]
    return Choice(
        index=index,
        text="".join([chunk.text for chunk in chunks]),
        reasoning="".join([chunk.reasoning for chunk in chunks]),
        tool_calls=_tool_calls([delta for chunk in chunks for delta in chunk.tool_calls]),
        finish=next((chunk.finish for chunk in chunks if chunk.finish is not None), None),
        logprobs=tuple([drawn for some in logprobs for drawn in some]) if logprobs else None,
    )


def _tool_calls(deltas: list[ToolCallDelta]) -> tuple[ToolCall, ...]:
    by_index: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        by_index.setdefault(delta.index, []).append(delta)
    return tuple(
        ToolCall(
            id=next((piece.id for piece in pieces if piece.id is not None), ""),
            name=next((piece.name for piece in pieces if piece.name is not None), ""),
            arguments="".join([piece.arguments for piece in pieces]),
        )
        for _, pieces in sorted(by_index.items())
    )
