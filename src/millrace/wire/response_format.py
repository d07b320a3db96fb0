"""The form that a chat's answer must have: free text, any JSON object, or JSON that follows a schema."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from millrace.generation.order import ResponseFormat
from millrace.wire.json_body import check_depth, invalid


class _SchemaBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None  # for people; what binds the model is the schema


class FormatBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`response_format` as sent."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _SchemaBody | None = None


def parse_response_format(body: FormatBody | None) -> ResponseFormat | None:
    """None is free text, the API's default."""
    if body is None:
        return None
    if body.type != "json_schema":
        if body.json_schema is not None:
            invalid("response_format.json_schema", f"needs the type json_schema, not {body.type}")
        return None if body.type == "text" else ResponseFormat(kind=body.type)
    if body.json_schema is None or body.json_schema.schema is None:
        missing = "json_schema" if body.json_schema is None else "json_schema.schema"
        invalid(f"response_format.{missing}", "is required with the type json_schema")
    check_depth("response_format.json_schema.schema", body.json_schema.schema)
    return ResponseFormat(
        kind="json_schema",
        name=body.json_schema.name,
        schema=body.json_schema.schema,
        strict=body.json_schema.strict,
    )
