"""Ten conversations with the model, live: its own answers and calls are fed back, and a desk answers the calls.

Run: python -m models.tiny.converse [--model FILE] [--temperature T]      prints Markdown, as in the model card
The visitors and their shops are in customers.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from models.tiny.customers import VISITS, Visit
from models.tiny.desk import TASKS, TOPICS, Desk
from models.tiny.served import Answers, Served, as_messages
from models.tiny.tools import Call, Parameter, Said, Tool

from millrace.catalog.bundled import PATH

CALLS_MAX = 4  # in one turn; who calls more often is going round in circles


def usual_tools() -> tuple[Tool, ...]:
    """All of a desk's tools, under the names that desk.py lists first."""
    return tuple(
        Tool(form.names[0], tuple(_parameter(names[0], kind) for names, kind in form.parameters), task)
        for task, form in TASKS.items()
    )


def _parameter(name: str, kind: str) -> Parameter:
    return Parameter(name, "string", TOPICS) if kind == "topic" else Parameter(name, kind)


def converse(served: Answers, visit: Visit, temperature: float = 0.0) -> tuple[Said, ...]:
    """The whole conversation, as it came."""
    tools = usual_tools() if visit.world else ()
    desk = Desk(visit.world) if visit.world else None
    turns: list[Said] = []
    for question in visit.said:
        turns.append(Said("user", question))
        for _ in range(CALLS_MAX):
            answer = served.answer(as_messages(visit.system, turns), tools, temperature=temperature)
            if desk is None or not answer.calls:
                turns.append(Said("assistant", answer.text))
                break
            for call in answer.calls:
                turns += [Said("assistant", "", call), Said("tool", _result(desk, tools, call))]
    return tuple(turns)


def _result(desk: Desk, tools: tuple[Tool, ...], call: Call) -> str:
    tool = next((tool for tool in tools if tool.name == call.name), None)
    told = {"error": "no such tool"} if tool is None else desk.answer(tool, call.arguments)
    return json.dumps(told, ensure_ascii=False)


def written(visit: Visit, turns: tuple[Said, ...]) -> Iterator[str]:
    """Markdown: who said what, calls and their results in small type."""
    yield f"### {visit.title}\n"
    if visit.system:
        yield "System prompt: " + visit.system.replace("\n", " / ") + (" *With tools.*" if visit.world else "") + "\n"
    for turn in turns:
        if turn.call is not None:
            arguments = ", ".join(f"{name}={value!r}" for name, value in turn.call.arguments.items())
            yield f"  - calls `{turn.call.name}({arguments})`"
        elif turn.role == "tool":
            yield f"  - result `{turn.text}`"
        else:
            yield f"- **{'Visitor' if turn.role == 'user' else 'millrace-tiny'}**: {turn.text}"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=PATH)
    parser.add_argument("--temperature", type=float, default=0.0)
    given = parser.parse_args()
    served = Served(given.model)
    for visit in VISITS:
        print("\n".join(written(visit, converse(served, visit, given.temperature))), flush=True)


if __name__ == "__main__":
    main()
