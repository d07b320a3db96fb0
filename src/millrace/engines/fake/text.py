"""The fake model itself, pure: how text splits into tokens, and which tokens answer which prompt.

A token is a word of at most eight characters with the white space before it, or one other character. Joined tokens
give the text back. The words of an answer are drawn by SHAKE-256 from prompt, seed and sampling: the same order gets
the same answer on every machine, another seed another one.
"""

import hashlib
import math
import re
from typing import Any, Final

import msgspec

from millrace.generation.order import ResponseFormat, Sampling
from millrace.generation.prompt import ChatPrompt, Prompt, Tool

TOKENS_PER_MESSAGE: Final = 4
"""What the template puts around a message: its start, its role, a line break, its end."""
TOKENS_OF_TURN: Final = 2
"""What opens the turn of the assistant."""

_TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+")
_WORD_LIST: Final = (
    "water wheel river mill stone grain flour sack gate pond dam race stream bridge oak iron rope gear shaft hopper "
    "miller baker market wagon horse road village spring summer autumn winter morning evening rain cloud wind light "
    "turns carries grinds rises falls runs waits opens closes feeds pays counts weighs keeps gives takes "
    "slow quick bright deep"
)
_WORDS: Final = tuple(_WORD_LIST.split())
_DEEPEST_SCHEMA: Final = 16


def split_tokens(text: str) -> list[str]:
    """The tokens of a text; joined they are the text."""
    return _TOKEN.findall(text)


def count_prompt(prompt: Prompt) -> int:
    """The exact input tokens of a prompt, template and tools included."""
    if not isinstance(prompt, ChatPrompt):
        return len(split_tokens(prompt.text))
    count = TOKENS_OF_TURN
    for message in prompt.messages:
        count += TOKENS_PER_MESSAGE + len(split_tokens(message.content or ""))
        for call in message.tool_calls:
            count += len(split_tokens(call.name)) + len(split_tokens(call.arguments))
    if prompt.tools:
        count += len(split_tokens(msgspec.json.encode(prompt.tools).decode()))
    return count


def draw_key(prompt: Prompt, sampling: Sampling) -> bytes:
    """What an answer depends on: the prompt and whatever steers the drawing of tokens."""
    steering = (
        sampling.seed, sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p, sampling.presence_penalty,
        sampling.frequency_penalty, sampling.repetition_penalty, sampling.logit_bias,
    )  # fmt: skip
    return msgspec.json.encode((prompt, steering), order="deterministic")


def draw_words(key: bytes, choice: int, part: str, count: int) -> list[str]:
    """`count` word tokens, the first without and the others with a space before it."""
    drawn = hashlib.shake_256(key + f"{part}{choice}".encode()).digest(count)
    return [("" if place == 0 else " ") + _WORDS[byte % len(_WORDS)] for place, byte in enumerate(drawn)]


def answer_tokens(key: bytes, choice: int, count: int, form: ResponseFormat | None) -> list[str]:
    """The text of a choice as tokens: words, or JSON where the order asks for it."""
    if form is None or form.kind == "text":
        return draw_words(key, choice, "text", count)
    if form.kind == "json_schema":
        value = example(form.schema or {}, key)
    else:
        value = {"text": "".join(draw_words(key, choice, "text", count))}
    return split_tokens(msgspec.json.encode(value).decode())


def tool_call_tokens(tool: Tool, key: bytes) -> list[str]:
    """The arguments of a call of `tool`, as tokens of JSON text that fits its schema."""
    return split_tokens(msgspec.json.encode(example(tool.parameters or {"type": "object"}, key)).decode())


def example(schema: dict[str, Any], key: bytes, depth: int = 0) -> Any:
    """A small value of a JSON schema. Knows type, enum, const, properties, required, items, minItems, minimum, anyOf
    and oneOf; other keywords ($ref, pattern, format …) are not obeyed."""
    if depth > _DEEPEST_SCHEMA:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return example(several[0], key, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return _example_object(schema, key, depth)
        case "array":
            return [example(schema.get("items", {}), key, depth + 1) for _ in range(schema.get("minItems", 1))]
        case "integer" | "number":
            return max(1, math.ceil(schema.get("minimum", 1)))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return draw_words(key, 0, "value", 1)[0]


def _example_object(schema: dict[str, Any], key: bytes, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    names = schema.get("required", list(properties))
    return {name: example(properties.get(name, {}), key + name.encode(), depth + 1) for name in names}


def cut_at_stop(tokens: list[str], stops: tuple[str, ...]) -> list[str]:
    """The piece of text that each token releases, up to the token that completes the first stop sequence: the text ends
    before the sequence, while the tokens that spell it are made all the same and release nothing."""
    text = "".join(tokens)
    met = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not met:
        return tokens
    at, stop = min(met)
    released: list[str] = []
    start = 0
    for token in tokens:
        if start >= at + len(stop):
            break
        released.append(token[: max(0, at - start)])
        start += len(token)
    return released


def unit_vector(text: str, dimensions: int) -> tuple[float, ...]:
    """A vector of length 1; texts that share words lie closer to each other than texts that do not."""
    vector = [0.0] * dimensions
    for token in split_tokens(text.lower()) or [""]:
        drawn = int.from_bytes(hashlib.blake2b(token.strip().encode(), digest_size=8).digest(), "big")
        vector[(drawn >> 1) % dimensions] += 1.0 if drawn & 1 else -1.0
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not length:
        return (1.0, *vector[1:])
    return tuple(value / length for value in vector)
