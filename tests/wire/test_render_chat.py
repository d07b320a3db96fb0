"""A chat's whole answer."""

from millrace.generation.chunk import Finish, TokenCounts, TokenLogprob
from millrace.generation.prompt import ToolCall
from millrace.wire.collected import Choice
from millrace.wire.render_chat import render_chat

COUNTS = TokenCounts(input=9, cached_input=4, output=3, reasoning=1)
USAGE = (
    '"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,'
    '"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":1}}}'
)
ENVELOPE = '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":['


def answer(*choices: Choice) -> str:
    return render_chat("req_1", "m", 1_700_000_000, choices, COUNTS).decode()


def test_a_plain_answer() -> None:
    """Text, no refusal, no log probabilities, the finish, and the usage."""
    assert answer(Choice(index=0, text="Hello 你", finish=Finish.STOP)) == (
        ENVELOPE
        + '{"index":0,"message":{"role":"assistant","content":"Hello 你","refusal":null},'
        + '"logprobs":null,"finish_reason":"stop"}],'
        + USAGE
    )


def test_an_answer_that_calls_a_tool() -> None:
    """Without text the content is null; each call has its id, type, name and arguments as text."""
    call = ToolCall(id="call_1", name="look_up", arguments='{"q":1}')
    assert answer(Choice(index=0, tool_calls=(call,), finish=Finish.TOOL_CALLS)) == (
        ENVELOPE
        + '{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":['
        + '{"id":"call_1","type":"function","function":{"name":"look_up","arguments":"{\\"q\\":1}"}}]},'
        + '"logprobs":null,"finish_reason":"tool_calls"}],'
        + USAGE
    )


def test_text_beside_a_tool_call_is_kept() -> None:
    """A model may speak and call."""
    call = ToolCall(id="c", name="f", arguments="{}")
    assert '"content":"Wait."' in answer(Choice(index=0, text="Wait.", tool_calls=(call,), finish=Finish.TOOL_CALLS))


def test_several_choices_with_reasoning_and_logprobs() -> None:
    """Reasoning is apart from the content, log probabilities lie beside the message, an unfinished choice says null."""
    assert answer(
        Choice(index=0, text="a", reasoning="Hm.", finish=Finish.LENGTH, logprobs=(TokenLogprob("a", -1.0),)),
        Choice(index=1),
    ) == (
        ENVELOPE
        + '{"index":0,"message":{"role":"assistant","content":"a","refusal":null,"reasoning_content":"Hm."},'
        + '"logprobs":{"content":[{"token":"a","logprob":-1.0,"bytes":[97],"top_logprobs":[]}],"refusal":null},'
        + '"finish_reason":"length"},'
        + '{"index":1,"message":{"role":"assistant","content":"","refusal":null},'
        + '"logprobs":null,"finish_reason":null}],'
        + USAGE
    )
