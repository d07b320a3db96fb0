"""Log probabilities in both forms."""

import math

import pytest

from millrace.generation.chunk import TokenLogprob
from millrace.wire.json_body import encode
from millrace.wire.logprobs import to_chat_logprobs, to_completion_logprobs

DRAWN = (
    TokenLogprob("你", -0.5, (("你", -0.5), ("\ufffd", -1.5))),
    TokenLogprob("!", -2.0),
)


def test_the_chat_form() -> None:
    """Each token comes with its bytes and alternatives; a token that is no whole character has no bytes."""
    assert encode(to_chat_logprobs(DRAWN)).decode() == (
        '{"content":['
        '{"token":"你","logprob":-0.5,"bytes":[228,189,160],"top_logprobs":['
        '{"token":"你","logprob":-0.5,"bytes":[228,189,160]},{"token":"\ufffd","logprob":-1.5,"bytes":null}]},'
        '{"token":"!","logprob":-2.0,"bytes":[33],"top_logprobs":[]}],"refusal":null}'
    )


def test_the_completion_form() -> None:
    """Parallel lists, with offsets in characters from where the text had got to."""
    assert encode(to_completion_logprobs(DRAWN, 10)).decode() == (
        '{"tokens":["你","!"],"token_logprobs":[-0.5,-2.0],'
        '"top_logprobs":[{"你":-0.5,"\ufffd":-1.5},null],"text_offset":[10,11]}'
    )


@pytest.mark.parametrize("logprob", [-math.inf, math.nan, -1e6])
def test_the_impossible_has_a_number(logprob: float) -> None:
    """What JSON cannot say is the form's -9999, never null where a number is promised."""
    drawn = [TokenLogprob("a", logprob, (("b", logprob),))]
    chat = to_chat_logprobs(drawn)
    assert chat.content[0].logprob == chat.content[0].top_logprobs[0].logprob == -9999.0
    completion = to_completion_logprobs(drawn, 0)
    assert completion.token_logprobs == [-9999.0]
    assert completion.top_logprobs == [{"b": -9999.0}]
