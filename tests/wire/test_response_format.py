"""The form an answer must have."""

import json
from typing import Any

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.generation.order import ResponseFormat
from millrace.wire.chat import parse_chat

SCHEMA = {"type": "object"}


def response_format(asked: Any) -> ResponseFormat | None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "response_format": asked}
    return parse_chat(json.dumps(body).encode()).sampling.response_format


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, ResponseFormat(kind="json_object")),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": SCHEMA, "strict": True, "description": "A."},
            },
            ResponseFormat(kind="json_schema", name="a", schema=SCHEMA, strict=True),
        ),
    ],
)
def test_accepted(asked: Any, expected: ResponseFormat | None) -> None:
    """Text is the default; a schema comes with its name and strictness."""
    assert response_format(asked) == expected


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}, "response_format.json_schema.name"),
        ({"type": "json_object", "json_schema": {"name": "a", "schema": {}}}, "response_format.json_schema"),
    ],
    ids=str,
)
def test_refused(asked: Any, param: str) -> None:
    """A form that is half said is refused by the path of the missing half."""
    with pytest.raises(Refusal) as caught:
        response_format(asked)
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_REQUEST, param)
