"""JSON bodies into frozen types: malformed JSON is refused with its place in the body, a wrong value with its path.

The decoder checks types and ranges as the struct declares them; what it says in Python's words is said here in JSON's.
"""

import difflib
import re
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from millrace.base.errors import Reason, Refusal

T = TypeVar("T")

FREE_DEPTH_MAX: Final = 64
"""How deep free JSON (a JSON schema) may nest: far beyond real ones, far below what breaks an encoder later on."""

_ECHO_MAX: Final = 200  # characters of a caller's own text that an error sentence repeats

_ENCODER = msgspec.json.Encoder()
_BYTE = re.compile(r"(.*) \(byte (\d+)\)", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[")
_PLACED_ONE_LATE = {"trailing characters", "invalid escape character in string", "invalid character in unicode escape"}
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_TYPE_NAMES = re.compile(r"`([^`]*)`")
_JSON_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_LONE_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F])")


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type, else a Refusal: INVALID_JSON, INVALID_REQUEST or UNSUPPORTED_PARAMETER."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _mistyped(str(error), decoder.type) from None
    except RecursionError:
        raise Refusal(Reason.INVALID_JSON, "the body is not acceptable JSON: it nests too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(body, str(error)) from None


def encode(value: object) -> bytes:
    """Any of this room's types as compact JSON."""
    return _ENCODER.encode(value)


def invalid(param: str, sentence: str) -> NoReturn:
    """Refuse the value of a parameter that we know."""
    raise Refusal(Reason.INVALID_REQUEST, f"{param}: {sentence}", param=param)


def unsupported(param: str, sentence: str = "is not supported") -> NoReturn:
    """Refuse a parameter (or a value of it) that would change the answer and that we do not honour."""
    raise Refusal(Reason.UNSUPPORTED_PARAMETER, f"{param}: {sentence}", param=param)


def check_depth(param: str, value: Any) -> None:
    """Refuse free JSON that nests deeper than FREE_DEPTH_MAX."""
    if _deeper(value, FREE_DEPTH_MAX):
        invalid(param, f"nests deeper than {FREE_DEPTH_MAX} levels")


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper(inner, levels - 1) for inner in value)
    return False


def _malformed(body: bytes, said: str) -> Refusal:
    what, position = _where(body, said)
    before = body[:position]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    return Refusal(
        Reason.INVALID_JSON, f"the body is not valid JSON: {what} at byte {position} (line {line}, column {column})"
    )


def _where(body: bytes, said: str) -> tuple[str, int]:
    """What is wrong and at which byte; the decoder gives no place for bad UTF-8, an early end and half a pair."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return "invalid UTF-8", error.start
    if match := _BYTE.fullmatch(said):
        what = match[1].removeprefix("JSON is malformed: ")
        return what, int(match[2]) - (what in _PLACED_ONE_LATE)
    if half := _LONE_SURROGATE.search(body):
        return "half a surrogate pair", half.start(1)
    return "it ends too early", len(body)


def _mistyped(said: str, expected: Any) -> Refusal:
    sentence, _, at = said.rpartition(" - at `$") if " - at `$" in said else (said, "", "")
    path = at.removesuffix("`").removeprefix(".")
    kinds = _kinds_at(inspect.type_info(expected), at.removesuffix("`"))
    if match := _UNKNOWN_FIELD.fullmatch(sentence):
        return _unknown(_joined(path, match[1]), match[1], kinds)
    if match := _MISSING_FIELD.fullmatch(sentence):
        param = _joined(path, match[1])
        return Refusal(Reason.INVALID_REQUEST, f"{param}: is required", param=param)
    if allowed := [value for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]:
        sentence = f"{sentence}; it must be one of {', '.join(map(str, allowed))}"
    sentence = _TYPE_NAMES.sub(lambda match: _in_json_words(match[1]), sentence)
    sentence = sentence[:1].lower() + sentence[1:]
    return Refusal(Reason.INVALID_REQUEST, _short(f"{path or 'the body'}: {sentence}"), param=path or None)


def _unknown(param: str, name: str, kinds: list[inspect.Type]) -> Refusal:
    known = [field.encode_name for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields]
    near = difflib.get_close_matches(name[:_ECHO_MAX], known, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]}?" if near else ""
    param = _short(param)
    return Refusal(Reason.UNSUPPORTED_PARAMETER, f"{param}: this parameter is not known here{hint}", param=param)


def _kinds_at(kind: inspect.Type, path: str) -> list[inspect.Type]:
    """What may stand at `.messages[0].role` of a type: the alternatives, nullness included."""
    kinds = _alternatives(kind)
    for step in _STEP.finditer(path):
        kinds = [inner for kind in kinds for inner in _inside(kind, step[1])]
    return kinds


def _inside(kind: inspect.Type, name: str | None) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        return [inner for field in kind.fields if field.encode_name == name for inner in _alternatives(field.type)]
    if isinstance(kind, inspect.ListType):
        return _alternatives(kind.item_type)
    return []


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]


def _in_json_words(types: str) -> str:
    return " or ".join(_JSON_WORDS.get(name, name) for name in types.split(" | "))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _short(text: str) -> str:
    return text if len(text) <= _ECHO_MAX else f"{text[:_ECHO_MAX]}…"
