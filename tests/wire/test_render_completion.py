"""A text completion's whole answer."""

from millrace.generation.chunk import Finish, TokenCounts, TokenLogprob
from millrace.wire.collected import Choice
from millrace.wire.render_completion import render_completion


def test_the_answer() -> None:
    """Choices with their text, log probabilities in the older form, and the usage."""
    drawn = (TokenLogprob("upon", -1.0), TokenLogprob(" a", -2.0))
    choices = (
        Choice(index=0, text="upon a", finish=Finish.LENGTH, logprobs=drawn),
        Choice(index=1, text=" time", finish=Finish.STOP),
    )
    assert render_completion("req_1", "m", 1_700_000_000, choices, TokenCounts(input=1, output=3)) == (
        b'{"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"m","choices":['
        b'{"index":0,"text":"upon a","logprobs":{"tokens":["upon"," a"],"token_logprobs":[-1.0,-2.0],'
        b'"top_logprobs":[null,null],"text_offset":[0,4]},"finish_reason":"length"},'
        b'{"index":1,"text":" time","logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4,'
        b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}'
    )
