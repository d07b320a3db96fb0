"""What the fake model makes of an order, token by token, before the first is released; pure."""

import hashlib
import math
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from millrace.engines.fake import text
from millrace.engines.fake.script import FakeScript
from millrace.generation.chunk import Finish, TokenLogprob, ToolCallDelta
from millrace.generation.order import Order
from millrace.generation.prompt import ChatPrompt, Prompt, Tool

_LN2: Final = math.log(2)


class Step(Struct, frozen=True, gc=False):
    """One token of a choice, and what is released when it is made."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish: Finish | None = None
    made: bool = True
    """False: nothing was made, this only says that the choice is over."""


def plan_choice(order: Order, script: FakeScript, choice: int, limit: int) -> list[Step]:
    """One choice: reasoning, then text or a tool call, at most `limit` tokens, the last one with the finish."""
    key = text.draw_key(order.prompt, order.sampling)
    thinking = 0 if order.sampling.reasoning_effort == "none" else script.reasoning_tokens
    steps = [Step(reasoning=word) for word in text.draw_words(key, choice, "reasoning", thinking)]
    tool = forced_tool(order.prompt)
    if tool is not None:
        steps += _tool_steps(tool, choice, key)
    else:
        form = order.sampling.response_format
        tokens = text.answer_tokens(key, choice, script.tokens, form)
        tokens = [script.opening, *tokens] if script.opening and (form is None or form.kind == "text") else tokens
        steps += [Step(text=piece) for piece in text.cut_at_stop(tokens, order.sampling.stop or ())]
    finish = Finish.LENGTH if len(steps) > limit else Finish.STOP if tool is None else Finish.TOOL_CALLS
    steps = steps[:limit]
    if not steps:
        return [Step(finish=finish, made=False)]
    return [*steps[:-1], replace(steps[-1], finish=finish)]


def bursts(plans: list[list[Step]], size: int) -> Iterator[list[tuple[int, Step]]]:
    """The steps of all choices side by side, `size` of each at a time."""
    for start in range(0, max(map(len, plans)), size):
        yield [
            (choice, plan[place])
            for place in range(start, start + size)
            for choice, plan in enumerate(plans)
            if place < len(plan)
        ]


def forced_tool(prompt: Prompt) -> Tool | None:
    """The tool that a prompt makes the model call: the one its choice names, or the first where any is required."""
    if not isinstance(prompt, ChatPrompt) or prompt.tool_choice is None or prompt.tool_choice.mode != "required":
        return None
    wanted = prompt.tool_choice.name
    return next((tool for tool in prompt.tools if wanted in (None, tool.name)), None)


def _tool_steps(tool: Tool, choice: int, key: bytes) -> list[Step]:
    identity = ToolCallDelta(0, f"call_{hashlib.blake2b(key + bytes([choice]), digest_size=8).hexdigest()}", tool.name)
    arguments = [ToolCallDelta(0, arguments=piece) for piece in text.tool_call_tokens(tool, key)]
    return [Step(tool_calls=(delta,)) for delta in (identity, *arguments)]


def likelihoods(order: Order, step: Step) -> tuple[TokenLogprob, ...] | None:
    """Likelihoods that halve from one alternative to the next, the made token first; text tokens only."""
    if not order.sampling.logprobs or not step.text:
        return None
    others = range(1, order.sampling.top_logprobs or 0)
    top = [(step.text, -_LN2), *((f" other{place}", -_LN2 * (place + 1)) for place in others)]
    return (TokenLogprob(step.text, -_LN2, tuple(top[: order.sampling.top_logprobs or 0])),)
