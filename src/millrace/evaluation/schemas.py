"""JSON against a JSON schema, by the package jsonschema, which comes with the extra `eval`.

Nothing is fetched: a $ref leads to a place in the schema itself or nowhere.
"""

import importlib.util
import json
from typing import TYPE_CHECKING, Any

from millrace.base.errors import Reason, Refusal

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def check_schema(schema: dict[str, Any]) -> None:
    """Refuses what is no schema; BAD_SETTING where jsonschema is missing."""
    if importlib.util.find_spec("jsonschema") is None:
        raise Refusal(
            Reason.BAD_SETTING, "json_schema needs a package that is not installed; get it with: pip install 'millrace[eval]'"
        )
    # Here, because it takes longer to import than most suites, which need it not, to be read.
    from jsonschema.exceptions import SchemaError

    try:
        type(_validator(schema)).check_schema(schema)
    except SchemaError as error:
        at = "".join(f"[{step!r}]" for step in error.absolute_path)
        raise Refusal(Reason.INVALID_REQUEST, f"expect.schema{at}: {error.message[:200]}", param="expect.schema") from None


def why_invalid(text: str, schema: dict[str, Any]) -> str | None:
    """Why a text is not JSON that is valid under the schema; None if it is."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    try:
        found = best_match(_validator(schema).iter_errors(value))
    except Unresolvable as unresolved:
        return f"the schema refers to what it does not have: {unresolved}"
    if found is None:
        return None
    at = "".join(f"[{step!r}]" for step in found.absolute_path)
    return f"{at or 'the value'}: {found.message}"


def _validator(schema: dict[str, Any]) -> "Validator":
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    made: Validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
