"""Bodies: what is malformed is refused with its place, what is mistyped with its path."""

from typing import Any, Literal

import msgspec
import pytest
from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.wire.json_body import FREE_DEPTH_MAX, check_depth, decode_body, encode


class Part(Struct, forbid_unknown_fields=True):
    kind: Literal["text", "image"]
    text: str | None = None


class Body(Struct, forbid_unknown_fields=True):
    model: str
    parts: list[Part] = []
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool = False
    one_or_more: str | list[str] | None = None
    free: dict[str, Any] | None = None


BODY = msgspec.json.Decoder(Body)


def refused(body: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode_body(body, BODY)
    return caught.value


def test_a_good_body() -> None:
    """A body that follows the type is the type's value; a pair of surrogates is one character."""
    assert decode_body(b'{"model":"\\ud83d\\ude00"}', BODY) == Body(model="😀")


@pytest.mark.parametrize(
    ("body", "what", "byte", "line", "column"),
    [
        (b"", "it ends too early", 0, 1, 1),
        (b'{"model": "a', "it ends too early", 12, 1, 13),
        (b'{"model": "\\ud83d\\ude00', "it ends too early", 23, 1, 24),
        (b"nul", "it ends too early", 3, 1, 4),
        (b'{"model":"a",}', "trailing comma in object", 13, 1, 14),
        (b'{\n "model": "a"\n "stream": true}', "expected ',' or '}'", 17, 3, 2),
        ('{"model": "模型" 1}'.encode(), "expected ',' or '}'", 19, 1, 16),
        (b'{"model":"a"} x', "trailing characters", 14, 1, 15),
        (b"{'model':1}", "object keys must be strings", 1, 1, 2),
        (b'{"model":"a","temperature":NaN}', "invalid character", 27, 1, 28),
        (b'{"model":"a","temperature":Infinity}', "invalid character", 27, 1, 28),
        (b'{"model":"a\x01"}', "invalid character", 11, 1, 12),
        (b'{"model":"\xff"}', "invalid UTF-8", 10, 1, 11),
        (b'{"model":"\xed\xa0\x80"}', "invalid UTF-8", 10, 1, 11),
        (b'\xef\xbb\xbf{"model":"a"}', "invalid character", 0, 1, 1),
        (b'{"model":"\\ud800"}', "half a surrogate pair", 10, 1, 11),
        (b'{"model":"\\\\\\ud800"}', "half a surrogate pair", 12, 1, 13),
        (b'{"model":"\\udc00"}', "invalid utf-16 surrogate pair", 16, 1, 17),
        (b'{"model":"\\q"}', "invalid escape character in string", 11, 1, 12),
        (b'{"model":"\\u12"}', "invalid character in unicode escape", 14, 1, 15),
    ],
)
def test_malformed_json_is_refused_with_its_place(body: bytes, what: str, byte: int, line: int, column: int) -> None:
    """The sentence says what is wrong and where: byte, line, and column in characters."""
    refusal = refused(body)
    assert refusal.reason is Reason.INVALID_JSON
    assert refusal.param is None
    assert refusal.sentence == (
        f"the body is not valid JSON: {what} at byte {byte} (line {line}, column {column})"
    )


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_a_depth_bomb_is_refused(opening: bytes) -> None:
    """Nesting that would overflow the stack is invalid JSON to us, not a crash."""
    refusal = refused(b'{"model":"a","free":{"x":' + opening * 100_000)
    assert refusal.reason is Reason.INVALID_JSON
    assert "nests too deeply" in refusal.sentence


@pytest.mark.parametrize(
    ("body", "param", "sentence"),
    [
        ("[]", None, "the body: expected object, got array"),
        ("7", None, "the body: expected object, got integer"),
        ("null", None, "the body: expected object, got null"),
        ("{}", "model", "model: is required"),
        ('{"model":7}', "model", "model: expected string, got integer"),
        ('{"model":"a","max_tokens":1.5}', "max_tokens", "max_tokens: expected integer or null, got number"),
        ('{"model":"a","max_tokens":true}', "max_tokens", "max_tokens: expected integer or null, got boolean"),
        ('{"model":"a","stream":"yes"}', "stream", "stream: expected boolean, got string"),
        ('{"model":"a","temperature":1e999}', "temperature", "temperature: number out of range"),
        ('{"model":"a","one_or_more":["a",1]}', "one_or_more[1]", "one_or_more[1]: expected string, got integer"),
        ('{"model":"a","parts":[{"kind":"text"},{}]}', "parts[1].kind", "parts[1].kind: is required"),
        (
            '{"model":"a","parts":[{"kind":"text"},{"kind":"film"}]}',
            "parts[1].kind",
            "parts[1].kind: invalid enum value 'film'; it must be one of image, text",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(body: str, param: str | None, sentence: str) -> None:
    """The param is the path of the value as the API writes it, and the sentence speaks JSON's words, not Python's."""
    refusal = refused(body.encode())
    assert (refusal.reason, refusal.param, refusal.sentence) == (Reason.INVALID_REQUEST, param, sentence)


@pytest.mark.parametrize(
    ("body", "param", "hint"),
    [
        ('{"model":"a","max_token":1}', "max_token", "; did you mean max_tokens?"),
        ('{"model":"a","Temperature":1}', "Temperature", "; did you mean temperature?"),
        ('{"model":"a","colour":1}', "colour", ""),
        ('{"model":"a","colour":null}', "colour", ""),
        ('{"model":"a","parts":[{"kind":"text","texts":"b"}]}', "parts[0].texts", "; did you mean text?"),
        ('{"model":"a","parts":[{"kind":"text","streams":"b"}]}', "parts[0].streams", ""),
    ],
)
def test_an_unknown_parameter_is_refused_by_name(body: str, param: str, hint: str) -> None:
    """The name is said with its path, and a near miss is suggested from the names known at that very place."""
    refusal = refused(body.encode())
    assert refusal.reason is Reason.UNSUPPORTED_PARAMETER
    assert refusal.param == param
    assert refusal.sentence == f"{param}: this parameter is not known here{hint}"


@pytest.mark.parametrize("body", ['{"%s":1}', '{"model":"a","parts":[{"kind":"%s"}]}'])
def test_an_error_never_echoes_much(body: str) -> None:
    """A megabyte of name or value is cut short in the sentence."""
    refusal = refused((body % ("x" * 1_000_000)).encode())
    assert len(refusal.sentence) < 300
    assert len(refusal.param or "") < 300


@pytest.mark.parametrize("arrays", [range(0), range(0, FREE_DEPTH_MAX, 2), range(FREE_DEPTH_MAX)])
def test_free_json_is_bounded_in_depth(arrays: range) -> None:
    """Free JSON may nest FREE_DEPTH_MAX levels and no deeper, whether objects, arrays or both in turn."""
    value: Any = 1
    for level in range(FREE_DEPTH_MAX):
        value = [value] if level in arrays else {"a": value}
    check_depth("free", value)
    for deeper in ([value], {"a": value}):
        with pytest.raises(Refusal, match="free: nests deeper than 64 levels"):
            check_depth("free", deeper)


def test_encoding_is_compact() -> None:
    """Bytes out carry no blanks, and non-ASCII text as it is."""
    assert encode({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()
