"""The chat template, calls and their results: what training writes is what llama.cpp sends, and calls come back as calls."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from models.tiny.desk_scenes import make_scene
from models.tiny.served import Served, as_messages
from models.tiny.tools import Call, Parameter, Said, Scene, Tool, as_dialogue, call_text
from tests.engines.orders import arguments_of, order, run

from millrace.base.clock import SystemClock
from millrace.catalog.bundled import PATH
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.protocol import EngineState
from millrace.generation.chunk import Finish
from millrace.generation.prompt import ChatPrompt, Message
from millrace.generation.prompt import Tool as Declared

TEMPLATE = Path(__file__).resolve().parents[2] / "models/tiny/chat_template.jinja"
SORT = ("price", "name")
FIND = Tool("find", (Parameter("query"), Parameter("most", "integer", required=False), Parameter("by", values=SORT)))
ORDER = Tool("get_order", (Parameter("order_id"),), "get_order")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(random.Random(seed), held_out=seed % 2 == 0) for seed in range(60)]


@pytest.fixture(scope="module")
def served() -> Served:
    return Served(PATH, TEMPLATE.read_text(encoding="utf-8").rstrip("\n"))


@pytest.fixture(scope="module")
def mill() -> Iterator[tuple[asyncio.Runner, EmbeddedEngine]]:
    """The bundled model in the engine that serves it."""
    with asyncio.Runner() as runner:
        settings = EmbeddedSettings(model="tiny", path=str(PATH), context_tokens=512, slots=1, threads=1)
        engine = EmbeddedEngine(settings, SystemClock())
        runner.run(engine.start())
        assert runner.run(engine.decided()) is EngineState.READY, engine.failure
        yield runner, engine
        runner.run(engine.close())


def test_a_signature_is_short() -> None:
    """A tool is shown by its name, its parameters, the kinds that are not text, and the values that are allowed."""
    assert FIND.signature == "find(query, most?: integer, by: price|name)"
    assert Tool("hand_over", ()).signature == "hand_over()"


def test_a_tool_is_declared_as_the_api_wants_it() -> None:
    """The declaration is a JSON schema: kinds, enumerations, and what is required."""
    parameters = FIND.declared()["function"]["parameters"]
    assert parameters["properties"]["query"] == {"type": "string"}
    assert parameters["properties"]["most"] == {"type": "integer"}
    assert parameters["properties"]["by"] == {"type": "string", "enum": ["price", "name"]}
    assert parameters["required"] == ["query", "by"]


def test_a_call_stands_between_its_marks() -> None:
    """A call is written as Qwen3 writes it, letters outside ASCII as they are."""
    written = '<tool_call>\n{"name": "find", "arguments": {"query": "crème"}}\n</tool_call>'
    assert call_text(Call("find", {"query": "crème"})) == written


def test_the_template_writes_what_training_reads(scenes: list[Scene]) -> None:
    """In Jinja2, as transformers and vLLM use it, the template gives exactly the text of the training."""
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - a prompt is no HTML
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    for scene in scenes:
        messages = _with_objects(as_messages(scene.system, scene.turns))
        tools = [tool.declared() for tool in scene.tools]
        assert template.render(messages=messages, tools=tools) == _chatml(scene)


def test_llama_cpp_writes_what_training_reads(served: Served, scenes: list[Scene]) -> None:
    """In llama.cpp too, which reads the arguments of a call and writes them anew."""
    for scene in scenes:
        bye = scene._replace(turns=(*scene.turns, Said("user", "bye")))
        messages = as_messages(bye.system, bye.turns)
        assert served.template(messages, bye.tools) == _chatml(bye) + "<|im_start|>assistant\n"


def test_the_template_takes_what_callers_send(served: Served) -> None:
    """A tool without parameters, a call beside words, two results in a row, and no tools at all are rendered."""
    call: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "hand_over", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "help"},
        {"role": "assistant", "content": "One moment.", "tool_calls": [call, call | {"id": "b"}]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
    ]
    called = '<tool_call>\n{"name": "hand_over", "arguments": {}}\n</tool_call>'
    assert served.template(messages, [Tool("hand_over", ())]) == (
        "<|im_start|>system\n# Tools\n<tools>\nhand_over()\n</tools><|im_end|>\n<|im_start|>user\nhelp<|im_end|>\n"
        f"<|im_start|>assistant\nOne moment.\n{called}\n{called}<|im_end|>\n<|im_start|>user\n<tool_response>\none\n"
        "</tool_response>\n<tool_response>\ntwo\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )
    assert served.template(messages[:1]) == "<|im_start|>user\nhelp<|im_end|>\n<|im_start|>assistant\n"


def test_a_turn_may_follow_its_own(served: Served) -> None:
    """An assistant's last words are a turn of their own, and not the begin of the next one."""
    told = served.template([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello!"}])
    assert told.endswith("Hello!<|im_end|>\n<|im_start|>assistant\n")


def test_the_engine_honours_tools(mill: tuple[asyncio.Runner, EmbeddedEngine]) -> None:
    """llama.cpp finds in the bundled file's template that it can express tools, their calls, and several at once."""
    assert {"tools", "parallel_tool_calls"} <= mill[1].honours


def test_the_bundled_file_has_this_template() -> None:
    """The template in the bundled file is the one of the recipe."""
    assert TEMPLATE.read_text(encoding="utf-8").rstrip("\n").encode() in PATH.read_bytes()


def test_a_call_comes_back_as_a_call(mill: tuple[asyncio.Runner, EmbeddedEngine]) -> None:
    """Asked for an order, the bundled model calls the tool for it; a stream has no trace of the marks, and ends as a call."""
    runner, engine = mill
    declared = ORDER.declared()["function"]
    prompt = ChatPrompt(
        messages=(Message(role="user", content="Where is my order 48213?"),),
        tools=(Declared(name=declared["name"], parameters=declared["parameters"]),),
    )
    chunks = runner.run(run(engine, order(prompt, temperature=0)))
    assert json.loads(arguments_of(chunks)) == {"order_id": "48213"}
    assert [delta.name for chunk in chunks for delta in chunk.tool_calls if delta.name] == ["get_order"]
    assert "".join(chunk.text for chunk in chunks).strip() == ""
    assert chunks[-1].finish is Finish.TOOL_CALLS


def test_a_whole_answer_is_read_as_a_call() -> None:
    """The examination reads the same call from a whole answer."""
    answer = Served(PATH).answer([{"role": "user", "content": "Where is my order 48213?"}], [ORDER])
    assert answer.calls == (Call("get_order", {"order_id": "48213"}),)
    assert (answer.text, answer.ended) == ("", "tool_calls")


def _chatml(scene: Scene) -> str:
    return "".join(f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n" for turn in as_dialogue(scene))


def _with_objects(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the arguments of calls as objects, which is what transformers and vLLM hand to a template."""
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages
