"""Embeddings: bodies and answers."""

import base64
import json
import struct
from typing import Any, Literal

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.wire.embeddings import EmbeddingsRequest, parse_embeddings, render_embeddings


def parse(**changes: Any) -> EmbeddingsRequest:
    return parse_embeddings(json.dumps({"model": "m", "input": "a", **changes}).encode())


@pytest.mark.parametrize(
    ("asked", "texts", "encoding"),
    [
        ({}, ("a",), "float"),
        ({"input": ["a", "b"]}, ("a", "b"), "float"),
        ({"input": ["a"] * 2048}, ("a",) * 2048, "float"),
        ({"encoding_format": "base64"}, ("a",), "base64"),
        ({"encoding_format": None, "dimensions": None}, ("a",), "float"),
    ],
    ids=["text", "texts", "as many as allowed", "base64", "null"],
)
def test_accepted(asked: dict[str, Any], texts: tuple[str, ...], encoding: Literal["float", "base64"]) -> None:
    """One text or several, in order; floats unless base64 is asked for."""
    assert parse(**asked) == EmbeddingsRequest(model="m", texts=texts, encoding=encoding, user=None)


@pytest.mark.parametrize(
    ("asked", "param", "reason"),
    [
        ({"input": ""}, "input", Reason.INVALID_REQUEST),
        ({"input": []}, "input", Reason.INVALID_REQUEST),
        ({"input": None}, "input", Reason.INVALID_REQUEST),
        ({"input": ["a", ""]}, "input[1]", Reason.INVALID_REQUEST),
        ({"input": ["a"] * 2049}, "input", Reason.INVALID_REQUEST),
        ({"input": [1, 2]}, "input[0]", Reason.UNSUPPORTED_PARAMETER),
        ({"input": [[1, 2]]}, "input[0]", Reason.UNSUPPORTED_PARAMETER),
        ({"dimensions": 256}, "dimensions", Reason.UNSUPPORTED_PARAMETER),
        ({"encoding_format": "int8"}, "encoding_format", Reason.INVALID_REQUEST),
        ({"inputs": "a"}, "inputs", Reason.UNSUPPORTED_PARAMETER),
        ({"model": ""}, "model", Reason.INVALID_REQUEST),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused(asked: dict[str, Any], param: str, reason: Reason) -> None:
    """No text, empty texts, too many, tokens, and dimensions are refused by name."""
    with pytest.raises(Refusal) as caught:
        parse(**asked)
    assert (caught.value.reason, caught.value.param) == (reason, param)


def test_the_answer_in_floats() -> None:
    """The answer lists the vectors in order with the usage of all."""
    assert render_embeddings("m", [(0.5, -1.0), (2.0, 0.25)], 7, "float") == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[0.5,-1.0]},'
        b'{"object":"embedding","index":1,"embedding":[2.0,0.25]}],'
        b'"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}'
    )


def test_the_answer_in_base64() -> None:
    """Base64 is little-endian single precision, four bytes a number."""
    answer = json.loads(render_embeddings("m", [(0.5, -1.0)], 7, "base64"))
    raw = base64.b64decode(answer["data"][0]["embedding"])
    assert raw == b"\x00\x00\x00\x3f\x00\x00\x80\xbf"
    assert struct.unpack("<2f", raw) == (0.5, -1.0)
