"""A suite of cases: JSONL into frozen values; pure. What is wrong with a line is refused with its number."""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from millrace.base.errors import Reason, Refusal
from millrace.evaluation.rules import All, Expectation, Grounded, JsonSchema, Regex, ToolCall
from millrace.evaluation.schemas import check_schema
from millrace.wire.chat import parse_chat
from millrace.wire.json_body import decode_body, encode

SUITE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A hundred thousand cases of 2.5 kB; it is held in memory."""

MAX_TOKENS: Final = 256
"""Of an answer, where a case says nothing and the model can make as many."""

Label = Annotated[str, Meta(min_length=1, max_length=128)]


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question, and what is expected of the answer. `messages` and what follows are sent as they stand."""

    id: Label
    messages: list[dict[str, Any]]
    expect: Expectation
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    max_tokens: int | None = None
    tags: tuple[Label, ...] = ()

    def body(
        self, model: str, *, max_output_tokens: int = MAX_TOKENS, temperature: float | None = None, seed: int | None = None
    ) -> dict[str, Any]:
        """What is asked of the API; what is None is left out. `max_output_tokens` is what the model makes at most."""
        asked = {
            "model": model, "messages": self.messages, "tools": self.tools, "tool_choice": self.tool_choice,
            "response_format": self.response_format, "max_tokens": self.max_tokens or min(MAX_TOKENS, max_output_tokens),
            "temperature": temperature, "seed": seed,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value is not None}

    def sources(self, within: str) -> list[str]:
        """The texts that may ground an answer: those of the tools, or of everybody, with what earlier calls asked for."""
        spoken = [message for message in self.messages if within == "messages" or message.get("role") == "tool"]
        texts = [text for message in spoken for text in _contents(message.get("content"))]
        called = [call["function"]["arguments"] for message in spoken for call in message.get("tool_calls") or ()]
        return texts + called


class Suite(NamedTuple):
    """Cases in their order. `sha256` is of the whole file, also where only some of its cases are run."""

    sha256: str
    cases: tuple[Case, ...]


_DECODER = msgspec.json.Decoder(Case)


def parse_suite(data: bytes, where: str) -> Suite:
    """The cases of a file that is called `where` in refusals."""
    if len(data) > SUITE_BYTES_MAX:
        raise Refusal(Reason.INVALID_REQUEST, f"{where} has more than {SUITE_BYTES_MAX} bytes; make several suites of it")
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip() or line.lstrip().startswith(b"//"):
            continue
        try:
            case = decode_body(line, _DECODER)
            _check(case)
        except Refusal as refusal:
            raise Refusal(Reason.INVALID_REQUEST, f"{where}, line {number}: {refusal.sentence}") from None
        if case.id in lines:
            raise Refusal(
                Reason.INVALID_REQUEST, f"{where}, line {number}: the id {case.id!r} stands in line {lines[case.id]} already"
            )
        lines[case.id] = number
        cases.append(case)
    if not cases:
        raise Refusal(Reason.INVALID_REQUEST, f"{where} has no case; write one JSON object a line")
    return Suite(hashlib.sha256(data).hexdigest(), tuple(cases))


def _check(case: Case) -> None:
    """Refuse what could never be asked, and what no answer could pass."""
    if case.max_tokens is not None and case.max_tokens < 1:
        raise _wrong("max_tokens", "must be at least 1")
    parse_chat(encode(case.body("any")))
    offered = [tool["function"]["name"] for tool in case.tools or ()]
    for rule in _leaves(case.expect):
        if isinstance(rule, Regex):
            _check_pattern(rule.pattern)
        elif isinstance(rule, JsonSchema):
            check_schema(rule.schema)
        elif isinstance(rule, ToolCall) and rule.name not in offered:
            raise _wrong("expect.name", f"{rule.name!r} is none of the case's tools ({', '.join(offered) or 'it has none'})")
        elif isinstance(rule, Grounded) and not case.sources(rule.within):
            raise _wrong("expect.in", f"there is nothing in the {rule.within} that could ground an answer")


def _leaves(rule: Expectation) -> Iterator[Expectation]:
    if isinstance(rule, All):
        for inner in rule.of:
            yield from _leaves(inner)
    else:
        yield rule


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise _wrong("expect.pattern", f"is no regular expression: {error}") from None


def _wrong(param: str, sentence: str) -> Refusal:
    return Refusal(Reason.INVALID_REQUEST, f"{param}: {sentence}", param=param)


def _contents(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return ["".join(part["text"] for part in content)] if content else []
