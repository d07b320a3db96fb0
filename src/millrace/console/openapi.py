"""OpenAPI 3.1 of the API, from the gateway's table of routes and the types of the wire."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import millrace
from millrace.base.errors import Reason
from millrace.console.forms import REFERENCE, Schema, schemas
from millrace.console.operations import MEANINGS, OPERATIONS, Argument, Operation
from millrace.console.parameters import FIELDS
from millrace.gateway.refusals import STATUS

OK: Final = "200"

REQUEST_ID: Final = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}

SUMMARY: Final = (
    "The OpenAI API form, with receipts. Errors have one envelope everywhere; its code is one of a closed list. Amounts "
    "are decimal strings, prices are per 1,000,000 tokens, times are RFC 3339 in UTC."
)


def document(base: str) -> dict[str, Any]:
    """The whole document; `base` is the address that callers use, without '/v1'."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace", "version": millrace.__version__, "description": SUMMARY},
        "servers": [{"url": base}],
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {
            "schemas": _described(schemas()),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "A key: mr_…"}},
            "headers": {
                "x-request-id": {
                    "description": "The request's id, which is the receipt's.", "schema": {"type": "string"},
                },
                "retry-after": {"description": "Seconds.", "schema": {"type": "integer"}},
            },
        },
    }  # fmt: skip


def refusals_by_status(reasons: Iterable[Reason]) -> dict[int, list[Reason]]:
    """The reasons under their statuses, both in order."""
    found: dict[int, list[Reason]] = {}
    for reason in sorted(reasons, key=lambda reason: (STATUS[reason], reason.value)):
        found.setdefault(STATUS[reason], []).append(reason)
    return found


def _paths() -> dict[str, dict[str, Any]]:
    """By path, and there by method."""
    found: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        found.setdefault(operation.path, {})[operation.route.method.lower()] = _operation(operation)
    return found


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.route.summary,
        "description": " ".join(operation.notes),
        "responses": _responses(operation),
    }
    if not operation.secured:
        found["security"] = []
    arguments = [_argument(argument, "query", required=False) for argument in operation.query]
    if operation.argument is not None:
        arguments.insert(0, _argument(operation.argument, "path", required=True))
    if arguments:
        found["parameters"] = arguments
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": _json(operation.body)}
    return found


def _argument(argument: Argument, place: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": argument.name, "in": place, "required": required, "description": argument.sentence,
        "schema": dict(argument.schema),
    }  # fmt: skip


def _responses(operation: Operation) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}} if operation.answer is None else _json(operation.answer)
    found = {OK: {"description": "Done.", "headers": REQUEST_ID, "content": content}}
    if operation.streams:
        found[OK]["content"] = {
            **content,
            "text/event-stream": {"schema": {"type": "string", "description": "Frames, then data: [DONE]."}},
        }
    if operation.unready:
        found["503"] = {"description": "Not ready.", "headers": REQUEST_ID, "content": content}
    for status, reasons in refusals_by_status(operation.refusals).items():
        found[str(status)] = _refusal(status, reasons)
    return found


def _refusal(status: int, reasons: list[Reason]) -> dict[str, Any]:
    headers: dict[str, Any] = dict(REQUEST_ID)
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["retry-after"] = {"$ref": "#/components/headers/retry-after"}
    return {
        "description": " ".join(f"{reason.value}: {MEANINGS[reason]}" for reason in reasons),
        "headers": headers,
        "content": _json("ErrorEnvelope"),
    }


def _json(form: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE + form}}}


def _described(components: dict[str, Schema]) -> dict[str, Schema]:
    """With the sentence of each parameter and field."""
    for operation in OPERATIONS:
        for name, parameter in operation.parameters.items():
            assert operation.body is not None, operation.id
            components[operation.body]["properties"][name]["description"] = parameter.sentence
    for path, sentence in FIELDS.items():
        form, name = path.split(".")
        components[form]["properties"][name]["description"] = sentence
    components["Error"]["properties"]["code"]["enum"] = [reason.value for reason in Reason]
    return components
