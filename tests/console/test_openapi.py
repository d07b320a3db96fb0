"""The OpenAPI document, and that it says what the gateway does."""

import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from msgspec import UnsetType, inspect

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.console.forms import MAY_BE_MISSING, REFERENCE, REFUSED, TYPES, PriceForm, public_name, schemas
from millrace.console.openapi import document
from millrace.console.operations import MEANINGS, OPERATIONS
from millrace.console.parameters import FIELDS
from millrace.gateway.app import INFERENCE, ROUTES
from millrace.gateway.reads import price_form
from millrace.gateway.refusals import STATUS
from millrace.money.rating.book import PriceTier, PriceVersion
from millrace.wire.chat import parse_chat

DOCUMENT = document("http://models.example")
KINDS = {"string", "integer", "number", "boolean", "array", "object", "null"}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_every_route_is_an_operation() -> None:
    """The gateway's table and the document name the same methods and paths, in one order."""
    assert [operation.route for operation in OPERATIONS] == list(ROUTES)
    assert {
        (method.upper(), re.sub(r"\{.*\}$", "", path)) for path, item in DOCUMENT["paths"].items() for method in item
    } == {(route.method, route.path) for route in ROUTES}


def test_every_reference_resolves() -> None:
    """Each $ref leads to something in the document, and each form is used."""
    targets = {node["$ref"] for node in walk(DOCUMENT) if "$ref" in node}
    for target in targets:
        found: Any = DOCUMENT
        for step in target.removeprefix("#/").split("/"):
            found = found[step]
    assert {REFERENCE + name for name in DOCUMENT["components"]["schemas"]} <= targets


def test_the_document_has_the_shape_of_openapi_3_1() -> None:
    """Required members are there, ids are unique, path parameters are declared, types are those of JSON Schema."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(DOCUMENT["info"])
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, item in DOCUMENT["paths"].items():
        assert path.startswith("/")
        for operation in item.values():
            declared = {given["name"] for given in operation.get("parameters", ()) if given["in"] == "path"}
            assert declared == set(re.findall(r"\{(.*?)\}", path))
            assert all(re.fullmatch(r"[1-5][0-9]{2}", status) for status in operation["responses"])
            assert all("description" in response for response in operation["responses"].values())
    for schema in walk(DOCUMENT["components"]["schemas"]):
        assert not isinstance(schema.get("type"), str) or schema["type"] in KINDS
        assert set(schema.get("required", ())) <= set(schema.get("properties", ()))


def test_names_are_public() -> None:
    """No Python name with an underscore or a module in front shows."""
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*", name) for name in DOCUMENT["components"]["schemas"])
    assert b"millrace." not in msgspec.json.encode(DOCUMENT)


def test_patterns_are_javascript_s() -> None:
    """Python's end-of-text sign is not in a pattern, since JSON Schema does not know it."""
    patterns = [node["pattern"] for node in walk(DOCUMENT) if isinstance(node.get("pattern"), str)]
    assert patterns
    assert not [pattern for pattern in patterns if r"\Z" in pattern or r"\A" in pattern]


def test_every_parameter_is_explained() -> None:
    """Each parameter of a body has its sentence and each sentence its parameter; so have the fields."""
    components = schemas()
    for operation in OPERATIONS:
        if operation.body is not None:
            assert set(operation.parameters) == set(components[operation.body]["properties"])
    for path in FIELDS:
        form, name = path.split(".")
        assert name in components[form]["properties"], path


def test_every_reason_has_a_meaning_and_a_place() -> None:
    """Each reason is explained; each that a caller can meet stands at a route, under the status that the gateway sends."""
    assert set(MEANINGS) == set(Reason)
    met = {reason for operation in OPERATIONS for reason in operation.refusals}
    nowhere = {Reason.BAD_SETTING, Reason.INVALID_HTTP}
    assert set(Reason) - met == nowhere
    for operation in OPERATIONS:
        responses = DOCUMENT["paths"][operation.path][operation.route.method.lower()]["responses"]
        for reason in operation.refusals:
            assert f"{reason.value}: " in responses[str(STATUS[reason])]["description"]


def test_keys_are_asked_for_where_the_gateway_asks() -> None:
    """The routes under /v1 need a bearer key, the others say that they do not; inference needs its scope."""
    for operation in OPERATIONS:
        item = DOCUMENT["paths"][operation.path][operation.route.method.lower()]
        assert operation.secured is operation.route.path.startswith("/v1/")
        assert ("security" in item) is not operation.secured
        assert operation.scope == "inference" or operation.route not in INFERENCE


@pytest.mark.parametrize("name", sorted(REFUSED["ChatRequest"]))
def test_what_is_listed_as_refused_is_refused(name: str) -> None:
    """A chat with the parameter gets unsupported_parameter, and the form does not offer it."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], name: {}}
    with pytest.raises(Refusal) as caught:
        parse_chat(msgspec.json.encode(body))
    assert (caught.value.reason, caught.value.param) == (Reason.UNSUPPORTED_PARAMETER, name)
    assert name not in DOCUMENT["components"]["schemas"]["ChatRequest"]["properties"]


def test_a_price_has_its_form() -> None:
    """What /v1/models sends as a price is the form that the document shows, field for field."""
    price = PriceVersion(
        id="m/CNY/v1", model="m", currency="CNY", version=1, effective_from=FakeClock().now(),
        tiers=(PriceTier(32_768, 1, 2, 3), PriceTier(None, 4, 5, 6)),
    )  # fmt: skip
    form = price_form(price)
    assert msgspec.to_builtins(msgspec.convert(form, PriceForm)) == form


def structs(kind: inspect.Type) -> Iterator[type]:
    """Every struct that a type can contain."""
    if isinstance(kind, inspect.StructType):
        yield kind.cls
        for field in kind.fields:
            yield from structs(field.type)
    elif isinstance(kind, inspect.UnionType):
        for alternative in kind.types:
            yield from structs(alternative)
    elif isinstance(kind, inspect.ListType):
        yield from structs(kind.item_type)


def test_what_an_answer_may_leave_out() -> None:
    """The fields that the forms call optional are those that the wire can leave unset."""
    unset = set()
    for cls in {cls for kind in TYPES for cls in structs(inspect.type_info(kind))}:
        for field, hint in get_type_hints(cls).items():
            if UnsetType in get_args(hint):
                unset.add((public_name(cls.__name__), field))
    assert unset == MAY_BE_MISSING
