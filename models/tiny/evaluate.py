"""Prints how good an exported model is: the table of the model card, measured through llama.cpp at temperature 0.

Run: python -m models.tiny.evaluate [--model FILE] [--scenes 300] [--seed S] [--shared DIR] [--json FILE]
Needs the extra `train`. Every turn is asked after the true conversation up to it; shops, names of products and phrasings of
the scenes with tools are those that training never sees. What counts as right is written in judge.py. The same file gives the
same table, but for the speed. With --json the rows and every failure are written too, to see what to teach next.
Not covered: conversations that the model itself led astray (converse.py runs some), and whether an answer is polite.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from models.tiny.conversation import Dialogue
from models.tiny.desk import TASKS
from models.tiny.desk_scenes import NO_NAMES, make_scene
from models.tiny.dialogues import make_dialogue
from models.tiny.forward import Network
from models.tiny.judge import ANYWHERE, calls_right, facts, refuses, says_the_same, ungrounded
from models.tiny.phrases import read_phrases
from models.tiny.served import Answer, Answers, Messages, Served, as_messages
from models.tiny.shared import read_names, read_out_of_scope, read_services, shared_folder
from models.tiny.tools import Said, Scene, Tool, as_dialogue, call_text

from millrace.catalog.bundled import PATH

SPEED_TOKENS, SPEED_TIMES = 256, 5


class Asked(NamedTuple):
    """A question after the true conversation before it, and what should be answered: the judges' view of a turn."""

    messages: Messages
    tools: Sequence[Tool]
    sources: Sequence[str]
    true: Said


class Tally:
    """Shares by part and row, and what failed."""

    def __init__(self) -> None:
        self.right: Counter[tuple[str, str]] = Counter()
        self.all: Counter[tuple[str, str]] = Counter()
        self.failures: list[dict[str, Any]] = []

    def count(self, part: str, row: str, right: bool, asked: Asked, answer: Answer) -> None:
        self.all[part, row] += 1
        self.right[part, row] += right
        if not right:
            said = answer.text + "".join(map(call_text, answer.calls))
            true = asked.true.text if asked.true.call is None else call_text(asked.true.call)
            before, why = asked.messages[-4:], answer.ended
            self.failures.append({"part": part, "row": row, "before": before, "said": said, "true": true, "ended": why})

    def shares(self) -> Iterator[tuple[str, str, int, int]]:
        """Part by part, the main rows of each before those that split them."""
        for part in dict.fromkeys(part for part, _ in self.all):
            rows = sorted((row for of, row in self.all if of == part), key=lambda row: (":" in row, row))
            yield from ((part, row, self.right[part, row], self.all[part, row]) for row in rows)


Judge = Callable[[Tally, str, Asked, Answer], None]


def turns_of(scene: Scene) -> Iterator[Asked]:
    """Each of the assistant's turns."""
    for place, turn in enumerate(scene.turns):
        if turn.role == "assistant":
            before = scene.turns[:place]
            yield Asked(as_messages(scene.system, before), scene.tools, sources(scene, before), turn)


def sources(scene: Scene, before: Sequence[Said]) -> list[str]:
    """What the conversation has told so far, a text each."""
    called = [str(value) for turn in before if turn.call for value in turn.call.arguments.values()]
    return [scene.system, *(tool.signature for tool in scene.tools), *called, *(turn.text for turn in before)]


def judge_scene(tally: Tally, part: str, asked: Asked, answer: Answer) -> None:
    """Calls and answers of a turn at a shop's desk."""
    judge_calls(tally, part, asked, answer)
    if asked.true.call is not None:
        _judge_names(tally, part, asked, answer)
    elif not answer.calls:
        if asked.messages[-1]["role"] == "tool":
            tally.count(part, "grounded, after a result", not ungrounded(answer.text, asked.sources), asked, answer)
            tally.count(part, "says the same, after a result", says_the_same(answer.text, asked.true.text), asked, answer)
        else:
            tally.count(part, "grounded, other answers", not ungrounded(answer.text, asked.sources), asked, answer)
        tally.count(part, "ends by itself", answer.by_itself, asked, answer)


def judge_calls(tally: Tally, part: str, asked: Asked, answer: Answer) -> None:
    right = calls_right(answer, asked.true.call)
    tally.count(part, "call exact" if asked.true.call else "no call where none is due", right, asked, answer)


def _judge_names(tally: Tally, part: str, asked: Asked, answer: Answer) -> None:
    called = next(tool for tool in asked.tools if asked.true.call and tool.name == asked.true.call.name)
    right = calls_right(answer, asked.true.call)
    tally.count(part, f"call exact: {called.task}", right, asked, answer)
    usual = "usual" if called == _usual(called) else "own"
    tally.count(part, f"call exact: {usual} names", right, asked, answer)


def _usual(tool: Tool) -> Tool:
    """The tool under the names that desk.py lists first."""
    form = TASKS[tool.task]
    named = zip(tool.parameters, form.parameters, strict=True)
    return Tool(form.names[0], tuple(one._replace(name=names[0]) for one, (names, _) in named), tool.task)


def judge_plain(tally: Tally, part: str, asked: Asked, answer: Answer) -> None:
    """An answer where there are no tools."""
    tally.count(part, "grounded", not ungrounded(answer.text, asked.sources, ANYWHERE), asked, answer)
    if needed := facts(asked.true.text, ANYWHERE):
        tally.count(part, "facts right, where there are some", facts(answer.text, ANYWHERE) == needed, asked, answer)
    tally.count(part, "ends by itself", answer.by_itself, asked, answer)


def judge_refusal(tally: Tally, part: str, asked: Asked, answer: Answer) -> None:
    tally.count(part, "refused", refuses(answer, asked.sources), asked, answer)


def plain_turns(dialogue: Dialogue) -> Iterator[Asked]:
    """Each of the assistant's turns of a conversation without tools."""
    for place, turn in enumerate(dialogue):
        if turn.role == "assistant":
            before = dialogue[:place]
            messages = [{"role": one.role, "content": one.text} for one in before]
            yield Asked(messages, (), [one.text for one in before], Said("assistant", turn.text))


def strange_questions(questions: Sequence[str], scenes: Sequence[Scene]) -> Iterator[Asked]:
    """Each question as the first one at another shop's desk."""
    for place, question in enumerate(questions):
        scene = scenes[place % len(scenes)]
        before = (Said("user", question),)
        messages = as_messages(scene.system, before)
        yield Asked(messages, scene.tools, sources(scene, before), Said("assistant", "(a refusal)"))


def surprise(network: Network, served: Served, dialogues: Sequence[Dialogue]) -> float:
    """Nats a token of what assistants say in the dialogues, the ends of their turns included."""
    nats, count = 0.0, 0
    for dialogue in dialogues:
        tokens: list[int] = []
        theirs: list[bool] = []
        for role, text in dialogue:
            head, body, end = (served.tokens(part) for part in (f"<|im_start|>{role}\n", f"{text}<|im_end|>", "\n"))
            tokens += head + body + end
            theirs += [False] * len(head) + [role == "assistant"] * len(body) + [False] * len(end)
        told = network.surprise(tokens)[np.array(theirs[1:])]
        nats, count = nats + float(told.sum()), count + len(told)
    return nats / count


def speed(served: Served, scene: Scene) -> float:
    """Tokens a second of one caller on one thread."""
    messages = as_messages(scene.system, scene.turns[:1])
    answers = [served.answer(messages, max_tokens=SPEED_TOKENS, ignore_eos=True) for _ in range(SPEED_TIMES)]
    return median(answer.speed for answer in answers)


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share."""
    z = 1.959964
    share, square = right / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


class Material(NamedTuple):
    """What the model is asked."""

    scenes: list[Scene]
    services: list[Scene]
    dialogues: list[Dialogue]
    own_strange: Sequence[str]
    heard_strange: Sequence[str]


def make_material(shared: Path | None, count: int, seed: str) -> Material:
    """Of the sets in the shared folder at most `count` each, drawn by the seed."""
    names = read_names(shared) if shared else NO_NAMES
    services = read_services(shared, held_out=True) if shared else []
    strange = read_out_of_scope(shared) if shared else []
    rng = random.Random(seed)
    return Material(
        [make_scene(random.Random(f"{seed}/{number}"), names, held_out=True) for number in range(count)],
        rng.sample(services, min(count // 3, len(services))),
        [make_dialogue(random.Random(f"{seed}/plain/{number}")) for number in range(count // 2)],
        read_phrases("examination")["out_of_scope"],
        rng.sample(strange, min(count, len(strange))),
    )


def examine(served: Answers, material: Material) -> Tally:
    """Asks everything, and counts."""
    tally = Tally()

    def ask(part: str, turns: Iterator[Asked], judge: Judge) -> None:
        for asked in turns:
            judge(tally, part, asked, served.answer(asked.messages, asked.tools))

    for scene in material.scenes:
        ask("shops with tools", turns_of(scene), judge_scene)
    for scene in material.services:
        ask("Taskmaster-4", turns_of(scene), judge_calls)
    for dialogue in material.dialogues:
        ask("shop in the prompt" if _has_shop(dialogue) else "no shop", plain_turns(dialogue), judge_plain)
    ask("out of scope, own", strange_questions(material.own_strange, material.scenes), judge_refusal)
    ask("out of scope, CLINC150", strange_questions(material.heard_strange, material.scenes), judge_refusal)
    return tally


def _has_shop(dialogue: Dialogue) -> bool:
    """A prompt that describes a shop is long."""
    return dialogue[0].role == "system" and len(dialogue[0].text) > 120


def measure(served: Served, network: Network, material: Material) -> dict[str, float | None]:
    """What is no share: surprise in nats a token, and tokens a second. None: not measured, without --shared."""
    scenes = [as_dialogue(scene) for scene in material.scenes]
    services = [as_dialogue(scene) for scene in material.services]
    return {
        "nats a token, shops with tools": surprise(network, served, scenes),
        "nats a token, Taskmaster-4": surprise(network, served, services) if services else None,
        "tokens a second, one thread": speed(served, material.scenes[0]),
    }


def table(tally: Tally, measured: dict[str, float | None], shared: bool) -> str:
    """Markdown."""
    lines = ["| part | measure | share | 95 % | of |", "|---|---|---|---|---|"]
    for part, row, right, count in tally.shares():
        low, high = wilson(right, count)
        lines.append(f"| {part} | {row} | {right / count:.1%} | {low:.1%} to {high:.1%} | {count} |")
    if not shared:
        lines.append("| Taskmaster-4, CLINC150 | needs --shared | not measured | | |")
    lines += ["", "| measure | |", "|---|---|"]
    for name, value in measured.items():
        told = "not measured" if value is None else f"{value:.4g}"
        if value is not None and name.startswith("nats"):
            told += f" (perplexity {math.exp(value):.3f})"
        lines.append(f"| {name} | {told} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=PATH)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", default="examination")
    parser.add_argument("--shared", type=shared_folder, help="folder of the clean-licence dialogue sets")
    parser.add_argument("--json", type=Path, help="writes the rows and what failed into this file")
    given = parser.parse_args()
    material = make_material(given.shared, given.scenes, given.seed)
    served = Served(given.model)
    tally = examine(served, material)
    measured = measure(served, Network(given.model), material)
    print(table(tally, measured, bool(given.shared)))
    if given.json:
        rows = [dict(zip(("part", "row", "right", "of"), share, strict=True)) for share in tally.shares()]
        told = {"rows": rows, "measured": measured, "failures": tally.failures}
        given.json.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
