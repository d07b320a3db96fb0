"""Frames → Chunks, with the tokens counted. Pure: one Meter per order, no I/O, no clock.

Theory of operation. Three sources can say how much was made, and the best one that a frame has is taken:

1. `timings` (llama.cpp) and `usage` in a frame that has choices (vLLM, SGLang with continuous_usage_stats) are the
   engine's running count *of the choice in that frame*; the output of the request is the sum over its choices. → ENGINE
2. A frame of text without either is counted by `count_text`. → RELEASED_TEXT
3. `usage` in a frame without choices, or in a whole answer, is the engine's count of the whole request. It is the truth
   and replaces what was counted before, upwards or downwards: nobody must pay for an over-estimate. Where it says
   something new it leaves as a chunk of counts alone, → ENGINE_FINAL (ENGINE, if the engine had counted all along).
   So the counts of the last chunk are the ones to settle by; before it they never go down.

A count that is not sent (None) is unknown and changes nothing; a zero that is sent is a zero. No count of a choice is
believed beyond the order's max_tokens, which is what the caller agreed to pay at most.

Not covered: the share found in the cache, when a server tells it only at the end (vLLM): a stream cancelled before that
is counted as if nothing had been cached. Reasoning tokens, when no final usage tells them, are those of the frames that
carried reasoning; the tags around it are not among them.
"""

from collections.abc import Callable
from typing import NamedTuple

from millrace.engines.upstream.frames import Choice, Frame, Logprobs, ToolCallPiece, Usage
from millrace.generation.chunk import NO_TOKENS, Chunk, CountedBy, Finish, TokenCounts, TokenLogprob, ToolCallDelta
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt

CountText = Callable[[str], int]
"""The tokens of a piece of text, by the tokenizer of the model."""

_FINISH = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
}


class BadFrameError(Exception):
    """A frame that does not answer the order it was sent for."""


class Said(NamedTuple):
    """What one choice said in one frame."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCallDelta, ...]


def one_per_piece(text: str) -> int:
    """One token for each piece that is not empty: exact where a server streams token by token, too low where it sends
    several at once or a whole answer. It errs in the customer's favour; give the model's tokenizer to do better."""
    return 1 if text else 0


class Meter:
    """Turns the frames of one answer into chunks with cumulative counts."""

    def __init__(self, order: Order, count_text: CountText = one_per_piece) -> None:
        self._order = order
        self._count_text = count_text
        self._input: int | None = None
        self._cached = 0
        self._output = [0] * order.choices
        self._reasoning = 0
        self._unfinished = set(range(order.choices))
        self._counted_by: CountedBy | None = None  # of the chunks so far: the weakest
        self._latest = NO_TOKENS

    @property
    def complete(self) -> bool:
        """Whether every choice has come to its end."""
        return not self._unfinished

    def take(self, frame: Frame) -> list[Chunk]:
        """The chunks of one frame of a stream. Raises BadFrameError for one that is no answer to the order."""
        if not frame.choices:
            return [] if frame.usage is None else self._correct(frame.usage)
        return [chunk for choice in frame.choices if (chunk := self._step(choice, frame)) is not None]

    def take_whole(self, frame: Frame) -> list[Chunk]:
        """The chunks of an answer in one piece: one per choice, each with the counts of the whole request."""
        said = [_said(choice) for choice in frame.choices]
        if frame.usage is None:
            counted_by = CountedBy.RELEASED_TEXT
            counts = TokenCounts(self._known_input(), 0, sum(map(self._by_text, said)), 0)
        else:
            counted_by = CountedBy.ENGINE_FINAL
            counts = self._final(frame.usage)
        return [self._chunk(choice, one, counts, counted_by) for choice, one in zip(frame.choices, said, strict=True)]

    def _step(self, choice: Choice, frame: Frame) -> Chunk | None:
        if not 0 <= choice.index < len(self._output):
            raise BadFrameError(f"it answered with choice {choice.index} of {len(self._output)}")
        said = _said(choice)
        made_before = self._output[choice.index]
        counted = self._engine_count(choice.index, frame)
        if not counted:
            self._output[choice.index] += self._by_text(said)
        made = self._output[choice.index] - made_before
        if said.reasoning and not said.text:
            self._reasoning += made
        if counted or made:
            self._weaken(CountedBy.ENGINE if counted else CountedBy.RELEASED_TEXT)
        elif choice.finish_reason is None and not any(said):
            return None  # a role alone
        self._latest = TokenCounts(self._known_input(), self._cached, sum(self._output), self._reasoning)
        return self._chunk(choice, said, self._latest, self._counted_by or CountedBy.RELEASED_TEXT)

    def _engine_count(self, index: int, frame: Frame) -> bool:
        """Take the engine's count of one choice, if the frame has it. Input and cache are what its first count said."""
        if frame.timings is not None:
            made, cached = frame.timings.predicted_n, frame.timings.cache_n
            read: int | None = frame.timings.prompt_n + cached
        elif frame.usage is not None and frame.usage.completion_tokens is not None:
            made, cached = frame.usage.completion_tokens, _cached(frame.usage) or 0
            read = frame.usage.prompt_tokens
        else:
            return False
        if self._input is None and read is not None:
            self._input, self._cached = read, min(cached, read)
        self._output[index] = max(self._output[index], min(made, self._order.max_tokens))
        return True

    def _weaken(self, counted_by: CountedBy) -> None:
        if self._counted_by is not CountedBy.RELEASED_TEXT:
            self._counted_by = counted_by

    def _correct(self, usage: Usage) -> list[Chunk]:
        """The engine's last word on the whole request, where it is not what was said already."""
        counts = self._final(usage)
        if counts == self._latest and self._counted_by is CountedBy.ENGINE:
            return []
        self._latest = counts
        if self._counted_by is not CountedBy.ENGINE:
            self._counted_by = CountedBy.ENGINE_FINAL
        return [Chunk(counts, counted_by=self._counted_by)]

    def _final(self, usage: Usage) -> TokenCounts:
        read = self._known_input() if usage.prompt_tokens is None else usage.prompt_tokens
        cached, reasoning = _cached(usage), usage.completion_tokens_details
        made = sum(self._output) if usage.completion_tokens is None else usage.completion_tokens
        made = min(made, self._order.max_tokens * self._order.choices)
        thought = self._reasoning if reasoning is None or reasoning.reasoning_tokens is None else reasoning.reasoning_tokens
        return TokenCounts(read, min(self._cached if cached is None else cached, read), made, min(thought, made))

    def _known_input(self) -> int:
        if self._input is None:
            self._input = sum(map(self._count_text, _texts(self._order)))
        return self._input

    def _by_text(self, said: Said) -> int:
        called = sum(self._count_text(delta.name or "") + self._count_text(delta.arguments) for delta in said.tool_calls)
        return self._count_text(said.text) + self._count_text(said.reasoning) + called

    def _chunk(self, choice: Choice, said: Said, counts: TokenCounts, counted_by: CountedBy) -> Chunk:
        finish = None
        if choice.finish_reason is not None:
            finish = _FINISH.get(choice.finish_reason)
            if finish is None:
                raise BadFrameError(f"it ended with finish_reason {choice.finish_reason[:40]!r}")
            self._unfinished.discard(choice.index)
        return Chunk(
            counts,
            said.text,
            said.reasoning,
            choice.index,
            finish,
            said.tool_calls,
            None if choice.logprobs is None else _logprobs(choice.logprobs, self._order.sampling.top_logprobs or 0),
            counted_by,
        )


def _said(choice: Choice) -> Said:
    one = choice.delta or choice.message
    if one is None:
        return Said(choice.text or "", "", ())
    calls = () if one.tool_calls is None else tuple(map(_tool_call, one.tool_calls, range(len(one.tool_calls))))
    return Said(one.content or "", one.reasoning_content or one.reasoning or "", calls)


def _tool_call(piece: ToolCallPiece, place: int) -> ToolCallDelta:
    index = place if piece.index is None else piece.index
    if piece.function is None:
        return ToolCallDelta(index, piece.id)
    return ToolCallDelta(index, piece.id, piece.function.name, piece.function.arguments or "")


def _logprobs(logprobs: Logprobs, top: int) -> tuple[TokenLogprob, ...]:
    """Both forms as one; a likelihood that is not given (JSON has no minus infinity) is the smallest there is."""
    if logprobs.content is not None:
        return tuple(
            TokenLogprob(
                one.token,
                _floor(one.logprob),
                tuple((other.token, _floor(other.logprob)) for other in (one.top_logprobs or ())[:top]),
            )
            for one in logprobs.content
        )
    likelihoods = logprobs.token_logprobs or []
    others = logprobs.top_logprobs or [None] * len(likelihoods)
    return tuple(
        TokenLogprob(token, _floor(likelihood), tuple((alternatives or {}).items())[:top])
        for token, likelihood, alternatives in zip(logprobs.tokens or [], likelihoods, others, strict=False)
    )


def _floor(logprob: float | None) -> float:
    """OpenAI writes -9999.0 for a token that could not have come."""
    return -9999.0 if logprob is None else logprob


def _cached(usage: Usage) -> int | None:
    return None if usage.prompt_tokens_details is None else usage.prompt_tokens_details.cached_tokens


def _texts(order: Order) -> list[str]:
    if isinstance(order.prompt, ChatPrompt):
        return [message.content or "" for message in order.prompt.messages]
    return [order.prompt.text]
