"""What a case may expect of an answer: values, as they stand in a suite (docs/guides/evaluation.md)."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Normal = Literal["space", "case", "punctuation", "width"]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all; `kind` is what reports call it."""

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


class Exact(Rule, frozen=True, kw_only=True, tag="exact"):
    """The answer is this text, or one of them."""

    text: str | Annotated[tuple[str, ...], Meta(min_length=1)]
    normalise: tuple[Normal, ...] = ("space",)


class Regex(Rule, frozen=True, kw_only=True, tag="regex"):
    """The pattern is found in the answer."""

    pattern: str


class JsonSchema(Rule, frozen=True, kw_only=True, tag="json_schema"):
    """The answer is JSON that is valid under the schema."""

    schema: dict[str, Any]


class ToolCall(Rule, frozen=True, kw_only=True, tag="tool_call"):
    """The answer calls this function with these arguments: alone and just so, or (`subset`) among others and at least so."""

    name: str
    arguments: dict[str, Any]
    match: Literal["exact", "subset"] = "exact"


class NoToolCall(Rule, frozen=True, kw_only=True, tag="no_tool_call"):
    """The answer calls nothing."""


class Grounded(Rule, frozen=True, kw_only=True, tag="grounded", rename={"within": "in"}):
    """What the answer says stands in the tools' answers, or in the whole conversation."""

    within: Literal["messages", "tools"]
    numbers: bool = True
    names: bool = True


class All(Rule, frozen=True, kw_only=True, tag="all"):
    """Each of these passes."""

    of: Annotated[tuple["Expectation", ...], Meta(min_length=1)]


Expectation = Exact | Regex | JsonSchema | ToolCall | NoToolCall | Grounded | All
