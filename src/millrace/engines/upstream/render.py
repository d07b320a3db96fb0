"""Order → the JSON that an OpenAI-compatible server takes. Pure."""

from typing import Any, NamedTuple

import msgspec

from millrace.generation.order import Order, ResponseFormat
from millrace.generation.prompt import ChatPrompt, Message, Prompt, Tool, ToolChoice

Json = dict[str, Any]

_SAME_NAME = (
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "logit_bias", "seed", "stop", "n", "parallel_tool_calls", "reasoning_effort",
)  # fmt: skip
"""Sampling fields that are named alike there. Those that only a chat can have are never set on other orders."""

CHAT_PATH = "/chat/completions"
TEXT_PATH = "/completions"


class Call(NamedTuple):
    """Where an order goes, below the server's base URL, and with which body."""

    path: str
    body: Json


def render_order(order: Order, upstream: str) -> Call:
    """The call of one order, without what concerns streaming and counting: the engines add those."""
    sampling = order.sampling
    body: Json = {"model": upstream, "max_tokens": order.max_tokens}
    body |= {name: value for name in _SAME_NAME if (value := getattr(sampling, name)) is not None}
    if sampling.response_format is not None and sampling.response_format.kind != "text":
        body["response_format"] = _render_format(sampling.response_format)
    if isinstance(order.prompt, ChatPrompt):
        if sampling.logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs or 0}
        return Call(CHAT_PATH, body | render_prompt(order.prompt))
    if sampling.logprobs:
        body["logprobs"] = sampling.top_logprobs or 0
    return Call(TEXT_PATH, body | render_prompt(order.prompt))


def render_prompt(prompt: Prompt) -> Json:
    if not isinstance(prompt, ChatPrompt):
        return {"prompt": prompt.text}
    body: Json = {"messages": [_render_message(message) for message in prompt.messages]}
    if prompt.tools:
        body["tools"] = [_render_tool(tool) for tool in prompt.tools]
        if prompt.tool_choice is not None:
            body["tool_choice"] = _render_choice(prompt.tool_choice)
    return body


def encode(body: Json) -> bytes:
    return msgspec.json.encode(body)


def _render_message(message: Message) -> Json:
    """Developers' messages become the system's: chat templates of open-weight models know no other name for them."""
    body: Json = {"role": "system" if message.role == "developer" else message.role, "content": message.content}
    if message.name is not None:
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


def _render_tool(tool: Tool) -> Json:
    said = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function = {"name": tool.name} | {name: value for name, value in said.items() if value is not None}
    return {"type": "function", "function": function}


def _render_choice(choice: ToolChoice) -> str | Json:
    if choice.name is not None:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _render_format(form: ResponseFormat) -> Json:
    if form.kind != "json_schema":
        return {"type": form.kind}
    schema: Json = {"name": form.name or "answer", "schema": form.schema or {}}
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}
