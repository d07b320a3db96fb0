"""What an engine releases: pieces of text or tool calls, each with the cumulative token counts of the whole request."""

from enum import StrEnum

from msgspec import Struct


class TokenCounts(Struct, frozen=True, gc=False):
    """Cumulative tokens of one request over all its choices. `cached_input` is part of `input`, `reasoning` of `output`."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0


NO_TOKENS = TokenCounts()


class CountedBy(StrEnum):
    """Who counted: the engine per chunk, the engine once at the end, or we from the text that was released."""

    ENGINE = "engine"
    ENGINE_FINAL = "engine_final"
    RELEASED_TEXT = "released_text"


class Finish(StrEnum):
    """Why a choice ended by itself; what ended a request otherwise is the gateway's to say."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class TokenLogprob(Struct, frozen=True):
    """A token with its log probability, and the likeliest alternatives as (token, log probability)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class ToolCallDelta(Struct, frozen=True):
    """A piece of the tool call at `index`: id and name come with its first piece, `arguments` is appended."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Chunk(Struct, frozen=True, gc=False):
    """One step of one choice. `counts` hold for everything up to and including this chunk.

    A chunk may carry no text at all (a role, a finish, counts alone). The last chunk of a choice has its `finish`.
    """

    counts: TokenCounts
    text: str = ""
    reasoning: str = ""
    choice: int = 0
    finish: Finish | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    counted_by: CountedBy = CountedBy.ENGINE
    more: bool = False
    """The next chunk is here already: whoever releases this one may do so together with it."""
