"""A tool call that must be made."""

import pytest
from tests.engines.orders import CLOCK, WEATHER, chat, forced, order

from millrace.engines.embedded.forced import ForcedCalls, forced_schema, parse_call
from millrace.generation.chunk import Chunk, Finish, TokenCounts
from millrace.generation.prompt import Tool

SPELLED = '{ "name": "weather", "arguments" : {"city": "Ulm"}\n }'


def test_only_a_required_call_is_forced() -> None:
    """A chat that may call is left to the model."""
    assert forced_schema(chat(tools=(WEATHER,))) is None
    assert forced_schema(chat()) is None


def test_any_tool_or_the_named_one_may_be_spelled() -> None:
    """One alternative each."""
    anything, named = forced_schema(forced(WEATHER, CLOCK)), forced_schema(forced(WEATHER, CLOCK, name="clock"))
    assert anything is not None
    assert named is not None
    assert [len(schema["anyOf"]) for schema in (anything, named)] == [2, 1]
    assert anything["anyOf"][0]["properties"]["arguments"] == WEATHER.parameters


def test_definitions_stay_where_references_look_for_them() -> None:
    """At the root, since `#/$defs/…` counts from there."""
    schema = forced_schema(forced(Tool(name="t", parameters={"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}})))
    assert schema is not None
    assert schema["$defs"] == {"x": {"type": "null"}}


def test_a_call_is_released_when_it_is_complete() -> None:
    """Nothing before, then name, arguments and counts in one chunk."""
    calls = ForcedCalls(order(forced(WEATHER)))
    assert calls.take(Chunk(TokenCounts(9, 0, 5), text=SPELLED)) == []
    (chunk,) = calls.take(Chunk(TokenCounts(9, 0, 6), finish=Finish.STOP))
    (delta,) = chunk.tool_calls
    assert (delta.name, delta.arguments, chunk.finish) == ("weather", '{"city": "Ulm"}', Finish.TOOL_CALLS)
    assert (chunk.counts.output, chunk.text) == (6, "")


@pytest.mark.parametrize(
    ("cut", "name", "arguments"),
    [('{"name": "weather", "arguments": {"ci', "weather", '{"ci'), ('{"name": "weather", "ar', "weather", "")],
)
def test_a_call_that_was_cut_short_is_given_as_far_as_it_came(cut: str, name: str, arguments: str) -> None:
    """The finish stays 'length', so that nobody takes it for whole."""
    (chunk,) = ForcedCalls(order()).take(Chunk(TokenCounts(9, 0, 5), text=cut, finish=Finish.LENGTH))
    assert (chunk.tool_calls[0].name, chunk.tool_calls[0].arguments) == (name, arguments)
    assert chunk.finish is Finish.LENGTH


def test_without_a_name_there_is_no_call() -> None:
    """Two tokens are not enough for one."""
    assert parse_call('{"na', "r") is None


def test_each_choice_has_its_own_call_and_identifier() -> None:
    """The same text is two calls."""
    calls = ForcedCalls(order(n=2))
    made = [calls.take(Chunk(TokenCounts(), text=SPELLED, choice=at, finish=Finish.STOP))[0] for at in (0, 1)]
    assert len({chunk.tool_calls[0].id for chunk in made}) == 2
