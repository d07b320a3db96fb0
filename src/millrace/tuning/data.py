"""Training files: JSON Lines, one conversation a line, as OpenAI's fine-tuning takes them. Pure: bytes in, values out.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}], "tools": [...]}

Messages and tools are read by the parsers of the chat API itself, so that what is trained is what can be asked. Beyond
what a chat allows: an assistant's message may carry `weight` 0 (it is read, not learned) or 1; each conversation ends
with the assistant; each tool's answer follows the call that it answers.

A bad line never stops the reading: the file is read to its end, and what is said names each line (counted from 1) and
the reason, the first PROBLEMS_SHOWN of them with the number of all. What is not judged here: whether an example fits the
context of a base (the trainer counts its tokens and refuses it by line), and whether it is worth learning.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from millrace.base.errors import Reason, Refusal
from millrace.generation.prompt import Message, Tool
from millrace.wire.chat_messages import MessageBody, parse_messages
from millrace.wire.chat_tools import ToolBody, parse_tools
from millrace.wire.json_body import decode_body, invalid

EXAMPLES_MIN: Final = 10
"""As OpenAI's: fewer teach nothing but themselves."""

EXAMPLES_MAX: Final = 1_000_000
FILE_BYTES_MAX: Final = 512 * 1024 * 1024
"""As OpenAI's."""

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Around a million tokens: beyond every context that is trained."""

PROBLEMS_SHOWN: Final = 20

_SENTENCE_MAX: Final = 300
_BOM: Final = b"\xef\xbb\xbf"
_ROLES: Final = ("system", "developer")


class Example(Struct, frozen=True, kw_only=True):
    """One conversation. `learned[i]` says whether messages[i] is an assistant's that the model is to learn."""

    line: int
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    learned: tuple[bool, ...]


class Problem(NamedTuple):
    """Why a line cannot be trained. Line 0 is the file as a whole."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}" if self.line else self.sentence


class Findings(Struct, frozen=True, kw_only=True):
    """What a file holds. `problems` are the first PROBLEMS_SHOWN of `problem_count`."""

    examples: int
    problems: tuple[Problem, ...]
    problem_count: int
    warnings: tuple[str, ...]


class _WeightedBody(MessageBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    weight: int | None = None


class _ExampleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[_WeightedBody], Meta(min_length=1)]
    tools: Annotated[list[ToolBody], Meta(max_length=128)] | None = None
    parallel_tool_calls: bool | None = None


_DECODER = msgspec.json.Decoder(_ExampleBody)


def parse_example(line: bytes, number: int) -> Example:
    """The conversation of one line; a Refusal names the first thing in it that cannot be trained."""
    body = decode_body(line, _DECODER)
    messages = parse_messages(list(body.messages))
    tools = parse_tools(body.tools or [])
    learned = tuple([_learned(message, f"messages[{index}]") for index, message in enumerate(body.messages)])
    _check_turns(messages, tools)
    if not any(learned):
        invalid("messages", "every assistant message has weight 0, so there is nothing to learn")
    return Example(line=number, messages=messages, tools=tools, learned=learned)


def read(lines: Iterable[bytes]) -> Iterator[Example | Problem]:
    """Each line's example, or what is wrong with it. Blank lines at the end are none."""
    blank: int | None = None
    for number, raw in enumerate(lines, start=1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        if not line.strip():
            blank = blank or number
            continue
        if blank is not None:
            yield Problem(blank, "is empty; each line is one JSON object")
            blank = None
        yield _example_or_problem(line, number)


def check(lines: Iterable[bytes], examples_min: int = EXAMPLES_MIN) -> Findings:
    """Read them all, keeping none: how many are good, what is wrong, and which are there twice."""
    examples, count = 0, 0
    problems: list[Problem] = []
    seen: dict[bytes, int] = {}
    twice: list[tuple[int, int]] = []
    for found in read(lines):
        if isinstance(found, Problem):
            count += 1
            problems += [found] if len(problems) < PROBLEMS_SHOWN else []
            continue
        examples += 1
        first = seen.setdefault(_digest(found), found.line)
        if first != found.line:
            twice.append((found.line, first))
    for problem in _of_the_whole(examples, count, examples_min):
        count += 1
        problems.append(problem)
    return Findings(examples=examples, problems=tuple(problems), problem_count=count, warnings=_warnings(twice))


def check_file(path: Path, examples_min: int = EXAMPLES_MIN) -> Findings:
    """What a file on the disk holds; one beyond FILE_BYTES_MAX is not read."""
    size = path.stat().st_size
    if size > FILE_BYTES_MAX:
        problem = Problem(0, f"the file has {size} bytes, more than {FILE_BYTES_MAX}; train on a part of it")
        return Findings(examples=0, problems=(problem,), problem_count=1, warnings=())
    with path.open("rb") as file:
        return check(bounded_lines(file), examples_min)


def read_file(path: Path) -> tuple[Example, ...]:
    """All examples of a file that `check_file` found good; raises the Refusal of `refuse_bad` where it is not."""
    with path.open("rb") as file:
        found = list(read(bounded_lines(file)))
    problems = tuple([each for each in found if isinstance(each, Problem)])
    if problems:
        raise refusal(problems[:PROBLEMS_SHOWN], len(problems))
    return tuple([each for each in found if isinstance(each, Example)])


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends. Of one beyond LINE_BYTES_MAX a byte too many is given, and the rest passed over."""
    while line := file.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            _pass_over(file)
        yield line.rstrip(b"\r\n") if len(line) <= LINE_BYTES_MAX else line


def refuse_bad(findings: Findings) -> None:
    """Raises INVALID_REQUEST with every problem shown, one on a line."""
    if findings.problem_count:
        raise refusal(findings.problems, findings.problem_count)


def refusal(problems: Iterable[Problem], count: int) -> Refusal:
    """`2 problems in the training file:` and each on a line of its own."""
    shown = [str(problem) for problem in problems]
    more = [f"… and {count - len(shown)} more"] if count > len(shown) else []
    head = f"{count} problem{'s' if count > 1 else ''} in the training file; nothing was charged:"
    return Refusal(Reason.INVALID_REQUEST, "\n".join([head, *shown, *more]), param="training_file")


def _example_or_problem(line: bytes, number: int) -> Example | Problem:
    if len(line) > LINE_BYTES_MAX:
        return Problem(number, f"is longer than {LINE_BYTES_MAX} bytes; split the conversation")
    try:
        return parse_example(line, number)
    except Refusal as refused:
        sentence = refused.sentence.replace("the body is not valid JSON", "is not valid JSON")
        return Problem(number, sentence if len(sentence) <= _SENTENCE_MAX else f"{sentence[:_SENTENCE_MAX]}…")


def _learned(message: _WeightedBody, at: str) -> bool:
    if message.weight is None:
        return message.role == "assistant"
    if message.role != "assistant":
        invalid(f"{at}.weight", f"is only for the role assistant, not {message.role}")
    if message.weight not in (0, 1):
        invalid(f"{at}.weight", f"is 0 (not learned) or 1 (learned), not {message.weight}")
    return message.weight == 1


def _check_turns(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> None:
    """What a server accepts in a chat but no model can learn from."""
    last = messages[-1].role
    if last != "assistant":
        invalid(f"messages[{len(messages) - 1}]", f"is the last and of the role {last}; the assistant has the last word")
    known = {tool.name for tool in tools}
    called: set[str] = set()
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if message.role in _ROLES and index:
            invalid(f"{at}.role", f"{message.role} comes first or not at all")
        if message.role == "assistant":
            _check_answer(message, known, at)
            called = {call.id for call in message.tool_calls}
        elif message.role == "tool" and message.tool_call_id not in called:
            invalid(f"{at}.tool_call_id", f"{str(message.tool_call_id)[:80]!r} is no call of the assistant's turn before it")
        elif message.role != "tool":
            called = set()


def _check_answer(message: Message, known: set[str], at: str) -> None:
    if not message.content and not message.tool_calls:
        invalid(f"{at}.content", "is empty and no tool is called: there is nothing to learn")
    for number, call in enumerate(message.tool_calls):
        where = f"{at}.tool_calls[{number}].function"
        if call.name not in known:
            invalid(f"{where}.name", f"{call.name[:64]!r} is not among the tools of this line")
        if not _is_object(call.arguments):
            invalid(f"{where}.arguments", "is not the text of a JSON object")


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False


def _of_the_whole(examples: int, problems: int, examples_min: int) -> Iterator[Problem]:
    if examples + problems < examples_min:
        yield Problem(0, f"there are {examples + problems} examples, and at least {examples_min} are needed")
    if examples > EXAMPLES_MAX:
        yield Problem(0, f"there are {examples} examples, more than {EXAMPLES_MAX}; train on a part of them")


def _warnings(twice: list[tuple[int, int]]) -> tuple[str, ...]:
    if not twice:
        return ()
    shown = ", ".join([f"{line} (as {first})" for line, first in twice[:PROBLEMS_SHOWN]])
    more = f" and {len(twice) - PROBLEMS_SHOWN} more" if len(twice) > PROBLEMS_SHOWN else ""
    return (f"{len(twice)} examples are there more than once and count each time: line {shown}{more}",)


def _digest(example: Example) -> bytes:
    told: list[Any] = [example.messages, example.tools, example.learned]
    return hashlib.blake2b(msgspec.json.encode(told), digest_size=16).digest()


def _pass_over(file: BinaryIO) -> None:
    while (rest := file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
        pass
