"""Chunks gathered into whole choices."""

import pytest

from millrace.generation.chunk import NO_TOKENS, Chunk, Finish, TokenLogprob, ToolCallDelta
from millrace.generation.prompt import ToolCall
from millrace.wire.collected import Choice, Collected


def collected(*chunks: Chunk, choices: int = 1) -> tuple[Choice, ...]:
    gathered = Collected(choices)
    for chunk in chunks:
        gathered.add(chunk)
    return gathered.choices()


def test_pieces_become_a_text() -> None:
    """Text, reasoning and log probabilities are joined in order, and the finish is kept."""
    a, b = TokenLogprob("a", -1.0), TokenLogprob("b", -2.0)
    assert collected(
        Chunk(NO_TOKENS, reasoning="Hm"),
        Chunk(NO_TOKENS, reasoning=".", logprobs=()),
        Chunk(NO_TOKENS, text="a", logprobs=(a,)),
        Chunk(NO_TOKENS, text="b", logprobs=(b,), finish=Finish.LENGTH),
    ) == (Choice(index=0, text="ab", reasoning="Hm.", finish=Finish.LENGTH, logprobs=(a, b)),)


def test_choices_are_kept_apart() -> None:
    """Chunks of several choices come interleaved and go to their own choice; one that never spoke is empty."""
    assert collected(
        Chunk(NO_TOKENS, text="x", choice=1),
        Chunk(NO_TOKENS, text="a"),
        Chunk(NO_TOKENS, text="y", choice=1, finish=Finish.STOP),
        choices=3,
    ) == (Choice(index=0, text="a"), Choice(index=1, text="xy", finish=Finish.STOP), Choice(index=2))


def test_tool_calls_are_put_together() -> None:
    """Calls come in pieces, interleaved: id and name with the first, arguments appended, in order of their index."""
    assert collected(
        Chunk(NO_TOKENS, tool_calls=(ToolCallDelta(1, "c1", "g", "[" ),)),
        Chunk(NO_TOKENS, tool_calls=(ToolCallDelta(0, "c0", "f"), ToolCallDelta(1, arguments="1"))),
        Chunk(NO_TOKENS, tool_calls=(ToolCallDelta(1, arguments="]"), ToolCallDelta(0, arguments="{}"))),
        Chunk(NO_TOKENS, finish=Finish.TOOL_CALLS),
    ) == (
        Choice(
            index=0,
            tool_calls=(ToolCall(id="c0", name="f", arguments="{}"), ToolCall(id="c1", name="g", arguments="[1]")),
            finish=Finish.TOOL_CALLS,
        ),
    )


def test_a_choice_that_was_not_asked_for_is_a_bug() -> None:
    """An engine that makes more choices than the order asked for is not papered over."""
    with pytest.raises(IndexError):
        collected(Chunk(NO_TOKENS, choice=1))
