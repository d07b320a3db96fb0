"""Orders in llama.cpp's dialect, and what an engine promises before its child runs. The real thing is under tests/live."""

import asyncio

import pytest
from tests.engines.orders import CLOCK, WEATHER, forced, order, run

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.engines.embedded.engine import ALWAYS_HONOURED, EmbeddedEngine, honoured_by, render_call
from millrace.engines.embedded.links import TemplateCapabilities
from millrace.engines.embedded.settings import CONNECTIONS_MAX, HTTP_THREADS, ChildSettings, EmbeddedSettings
from millrace.engines.protocol import Engine, EngineState
from millrace.generation.order import Sampling
from millrace.generation.prompt import TextPrompt

SETTINGS = EmbeddedSettings(model="m", path="m.gguf", context_tokens=512)


def test_it_is_an_engine_that_takes_no_work_before_it_is_ready() -> None:
    """Declared, it turns an order away; which parameters the file's template allows is not known yet."""
    engine: Engine = EmbeddedEngine(SETTINGS, FakeClock())
    with pytest.raises(Refusal) as refused:
        asyncio.run(run(engine, order()))
    assert (refused.value.reason, engine.state) == (Reason.ENGINE_UNAVAILABLE, EngineState.DECLARED)
    assert "tools" in engine.honours


def test_every_parameter_it_honours_is_one_of_ours() -> None:
    """A misspelt name would never be matched."""
    assert set(Sampling.__struct_fields__) > ALWAYS_HONOURED


def test_the_template_decides_about_tools_and_reasoning() -> None:
    """A parameter that a file's template would swallow is not honoured."""
    assert honoured_by(TemplateCapabilities()) == frozenset()
    tools = TemplateCapabilities(supports_tools=True, supports_tool_calls=True)
    assert honoured_by(tools) == {"tools"}


def test_answers_are_streamed_with_timings() -> None:
    """Also those that are wanted whole."""
    body = render_call(order(stream=False)).body
    assert (body["stream"], body["timings_per_token"]) == (True, True)


def test_parameters_have_their_names_over_there() -> None:
    """The penalty is renamed, a seed fits 32 bits and is never the one that means 'any'."""
    body = render_call(order(repetition_penalty=1.2, seed=2**32 - 1)).body
    assert (body["repeat_penalty"], body["seed"]) == (1.2, 0)
    assert "repetition_penalty" not in body
    assert render_call(order(seed=-1)).body["seed"] == 2**32 - 2


def test_a_forced_tool_is_a_schema() -> None:
    """All tools are shown, and only the forced one can be spelled."""
    body = render_call(order(forced(WEATHER, CLOCK, name="clock"))).body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather", "clock"]
    assert body["tool_choice"] == "none"
    (spelled,) = body["response_format"]["json_schema"]["schema"]["anyOf"]
    assert spelled["properties"]["name"] == {"const": "clock"}


def test_logprobs_without_alternatives_are_asked_for_with_one() -> None:
    """In both endpoints' form; what is too much is cut when it comes back."""
    assert render_call(order(logprobs=True)).body["top_logprobs"] == 1
    assert render_call(order(TextPrompt(text="a"), logprobs=True)).body["logprobs"] == 1


def test_answers_leave_threads_for_counting() -> None:
    """A prompt can be measured while as many answers as possible wait for a slot."""
    assert CONNECTIONS_MAX < HTTP_THREADS


def test_the_childs_key_is_not_shown() -> None:
    """Settings may be logged."""
    assert "hush" not in repr(ChildSettings(engine=SETTINGS, api_key="hush", parent=1))
