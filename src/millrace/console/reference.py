"""The reference page as values for its template, made from the OpenAPI document: what a machine reads and what a person
reads cannot differ."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from millrace.base.errors import Reason
from millrace.console.examples import curl
from millrace.console.forms import REFERENCE, REFUSED
from millrace.console.openapi import document, refusals_by_status
from millrace.console.operations import MEANINGS, OPERATIONS, Operation
from millrace.wire.errors import ERROR_TYPES

BIG: Final = 2**31
"""From here on a bound is that of a machine word, and is written as a power."""


class Piece(NamedTuple):
    """A part of a type's text; `form` is the form that it links to, empty for plain text."""

    text: str
    form: str = ""


class Row(NamedTuple):
    """A parameter or a field."""

    name: str
    type: list[Piece]
    required: bool
    default: str
    sentence: str


class Form(NamedTuple):
    """A JSON object, or a closed list of texts (then there are no rows)."""

    name: str
    sentence: str
    rows: list[Row]
    type: list[Piece]


class Refused(NamedTuple):
    """One line of the table of errors."""

    status: int
    code: str
    type: str
    sentence: str


class Section(NamedTuple):
    """One route."""

    operation: Operation
    anchor: str
    rows: list[Row]
    refused: list[tuple[str, str]]
    arguments: list[Row]
    errors: list[tuple[int, list[str]]]
    example: str


def sections(base: str, model: str) -> list[Section]:
    """The routes in the gateway's order; `model` is the name that the examples use."""
    components = document(base)["components"]["schemas"]
    return [_section(operation, components, base, model) for operation in OPERATIONS]


def forms(base: str) -> list[Form]:
    """Every form that is not a request's whole body."""
    bodies = {operation.body for operation in OPERATIONS}
    components = document(base)["components"]["schemas"]
    return [_form(name, schema) for name, schema in components.items() if name not in bodies]


def refusals() -> list[Refused]:
    """Every reason with its status."""
    return [
        Refused(status, reason.value, ERROR_TYPES[reason], MEANINGS[reason])
        for status, reasons in refusals_by_status(Reason).items()
        for reason in reasons
    ]


def type_pieces(schema: Mapping[str, Any], *, null: bool = True) -> list[Piece]:
    """A schema in words: 'integer, 1 to 16', 'list of Message, at least 1'. `null`: whether to say that null is allowed."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return [Piece(name, name)]
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if null or kind != {"type": "null"}]
        return _joined([type_pieces(kind) for kind in kinds], " or ")
    if "enum" in schema:
        shown = [_said(value) for value in schema["enum"] if null or value is not None]
        return [Piece(" | ".join(shown))]
    kind = schema.get("type")
    if kind == "array":
        return [Piece("list of "), *type_pieces(schema.get("items", {})), Piece(_count(schema, "Items", ""))]
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return [Piece("object of "), *type_pieces(schema["additionalProperties"]), Piece(_count(schema, "Properties", " keys"))]
    if kind is None:
        return [Piece("any JSON")]
    return [Piece(f"{'non-empty ' if 'minLength' in schema else ''}{kind}{_range(schema)}")]


def _section(operation: Operation, components: Mapping[str, Any], base: str, model: str) -> Section:
    body = operation.body
    rows = [] if body is None else _rows(components[body], null=False)
    path = operation.example_path.replace("{model}", model)
    if operation.query:
        path += "?" + "&".join(f"{argument.name}={argument.example}" for argument in operation.query)
    example = None if operation.example is None else {**operation.example, "model": model}
    return Section(
        operation=operation,
        anchor=operation.id,
        rows=[row._replace(default=operation.parameters[row.name].default) for row in rows],
        refused=list(REFUSED.get(body or "", {}).items()),
        arguments=[
            Row(argument.name, type_pieces(argument.schema), argument is operation.argument,
                str(argument.schema.get("default", "")), argument.sentence)
            for argument in (*([operation.argument] if operation.argument else []), *operation.query)
        ],
        errors=[
            (status, [reason.value for reason in reasons])
            for status, reasons in refusals_by_status(operation.refusals).items()
        ],
        example=curl(base, path, example, secured=operation.secured, method=operation.route.method),
    )  # fmt: skip


def _form(name: str, schema: Mapping[str, Any]) -> Form:
    rows = _rows(schema, null=True) if "properties" in schema else []
    return Form(name, schema.get("description", ""), rows, type_pieces(schema) if not rows else [])


def _rows(schema: Mapping[str, Any], *, null: bool) -> list[Row]:
    required = set(schema.get("required", ()))
    rows = [
        Row(name, type_pieces(inner, null=null), name in required, "", inner.get("description", ""))
        for name, inner in schema["properties"].items()
    ]
    return sorted(rows, key=lambda row: not row.required)


def _joined(kinds: list[list[Piece]], word: str) -> list[Piece]:
    joined = kinds[0][:]
    for kind in kinds[1:]:
        joined += [Piece(word), *kind]
    return joined


def _count(schema: Mapping[str, Any], what: str, unit: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if low is not None and high is not None:
        return f", exactly {low}{unit}" if low == high else f", {low} to {high:,}{unit}"
    if high is not None:
        return f", at most {high:,}{unit}"
    return "" if low is None else f", at least {low}{unit}"


def _range(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        return f" like {schema['pattern']}"
    if "exclusiveMinimum" in schema:
        return f", above {schema['exclusiveMinimum']}, at most {schema['maximum']}"
    if "minimum" in schema:
        return f", {_bound(schema['minimum'])} to {_bound(schema['maximum'])}"
    return ""


def _bound(value: float) -> str:
    if abs(value) < BIG - 1:
        return f"{value:,}"
    return {2**31 - 1: "2³¹−1", 2**63 - 1: "2⁶³−1", -(2**63): "-2⁶³"}.get(int(value), f"{value:,}")


def _said(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
