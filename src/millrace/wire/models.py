"""The models on offer (OpenAI API form, with what a caller also wants to know: lengths and prices)."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

from millrace.wire.json_body import encode


class ModelCard(Struct, frozen=True, kw_only=True):
    """One model. `created` is in Unix seconds; `embeds`: whether /v1/embeddings takes it; `prices` is shown as given (decimal
    strings per 1,000,000 tokens); `parent`: the model that a tenant tuned it on, null for one of the service."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    context_tokens: int
    max_output_tokens: int
    embeds: bool
    prices: Mapping[str, Any] | None = None
    parent: str | None = None


class ModelDeleted(Struct, frozen=True):
    """The answer to the deletion of a tuned model."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True


class ModelList(Struct, frozen=True):
    object: Literal["list"]
    data: list[ModelCard]


def render_model(card: ModelCard) -> bytes:
    """One model."""
    return encode(card)


def render_model_list(cards: Iterable[ModelCard]) -> bytes:
    """The list, in the order given."""
    return encode(ModelList("list", list(cards)))
