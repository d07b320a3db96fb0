"""Orders to give an engine, and what comes of them."""

from contextlib import aclosing
from typing import Any

from millrace.engines.protocol import Engine, EngineState
from millrace.generation.chunk import Chunk
from millrace.generation.order import Order, Sampling
from millrace.generation.prompt import ChatPrompt, Message, TextPrompt, Tool, ToolChoice

WEATHER = Tool(
    name="weather",
    description="The weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOCK = Tool(name="clock", parameters={"type": "object", "properties": {"zone": {"type": "integer"}}})


def chat(text: str = "How does a mill race work?", **rest: Any) -> ChatPrompt:
    return ChatPrompt(messages=(Message(role="user", content=text),), **rest)


def forced(*tools: Tool, name: str | None = None) -> ChatPrompt:
    return chat("Which?", tools=tools, tool_choice=ToolChoice(mode="required", name=name))


def order(
    prompt: ChatPrompt | TextPrompt | None = None,
    *,
    max_tokens: int = 64,
    stream: bool = True,
    request_id: str = "req_1",
    **sampling: Any,
) -> Order:
    return Order(
        request_id=request_id,
        prompt=prompt or chat(),
        sampling=Sampling(**sampling),
        max_tokens=max_tokens,
        stream=stream,
    )


def state_of(engine: Engine) -> EngineState:
    """The state as it is now; the type checker would believe that it never changes."""
    return engine.state


async def run(engine: Engine, given: Order) -> list[Chunk]:
    """All chunks of an order."""
    async with aclosing(engine.generate(given)) as chunks:
        return [chunk async for chunk in chunks]


def text_of(chunks: list[Chunk], choice: int = 0) -> str:
    return "".join(chunk.text for chunk in chunks if chunk.choice == choice)


def arguments_of(chunks: list[Chunk]) -> str:
    return "".join(delta.arguments for chunk in chunks for delta in chunk.tool_calls)
