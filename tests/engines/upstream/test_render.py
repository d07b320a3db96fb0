"""Orders as an OpenAI-compatible server wants them."""

from tests.engines.orders import CLOCK, WEATHER, chat, forced, order

from millrace.engines.upstream.render import render_order
from millrace.generation.order import ResponseFormat
from millrace.generation.prompt import ChatPrompt, Message, TextPrompt, ToolCall, ToolChoice


def test_a_plain_chat() -> None:
    """Only what was said is sent."""
    call = render_order(order(chat("Hi"), max_tokens=9), "up")
    assert call.path == "/chat/completions"
    assert call.body == {"model": "up", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def test_every_parameter_of_sampling_has_its_place() -> None:
    """None is dropped on the way."""
    given = order(
        temperature=0.5, top_p=0.9, top_k=40, min_p=0.1, presence_penalty=1.0, frequency_penalty=-1.0,
        repetition_penalty=1.1, logit_bias={"5": 2.0}, seed=7, stop=("x",), logprobs=True, top_logprobs=2, n=3,
        response_format=ResponseFormat(kind="json_object"), tools=True, parallel_tool_calls=False, reasoning_effort="low",
    )  # fmt: skip
    body = render_order(given, "up").body
    for name in set(given.sampling.named()) - {"tools", "response_format", "stop"}:
        assert body[name] == getattr(given.sampling, name)
    assert body["response_format"] == {"type": "json_object"}
    assert list(body["stop"]) == ["x"]


def test_tools_calls_and_results_go_back_as_they_came() -> None:
    """A whole round of a tool, in OpenAI's nesting."""
    prompt = ChatPrompt(
        messages=(
            Message(role="developer", content="Be brief."),
            Message(role="assistant", tool_calls=(ToolCall(id="c1", name="weather", arguments='{"city":"Ulm"}'),)),
            Message(role="tool", content="rain", tool_call_id="c1"),
        ),
        tools=(WEATHER,),
        tool_choice=ToolChoice(mode="auto"),
    )
    body = render_order(order(prompt), "up").body
    function = {"name": "weather", "arguments": '{"city":"Ulm"}'}
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
    ]
    assert body["tools"][0]["function"]["parameters"] == WEATHER.parameters
    assert body["tool_choice"] == "auto"


def test_a_tool_forced_by_name() -> None:
    """The choice names the function."""
    body = render_order(order(forced(WEATHER, CLOCK, name="clock")), "up").body
    assert body["tool_choice"] == {"type": "function", "function": {"name": "clock"}}


def test_a_schema_has_its_name() -> None:
    """response_format nests it as OpenAI does."""
    form = ResponseFormat(kind="json_schema", name="shoe", schema={"type": "object"}, strict=True)
    body = render_order(order(response_format=form), "up").body
    schema = {"name": "shoe", "schema": {"type": "object"}, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}


def test_plain_text_is_continued() -> None:
    """The other endpoint, whose logprobs is a number."""
    call = render_order(order(TextPrompt(text="Once"), logprobs=True, top_logprobs=2), "up")
    assert (call.path, call.body["prompt"], call.body["logprobs"]) == ("/completions", "Once", 2)
