"""Every type of the wire that the reference shows, as JSON Schema under public names."""

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from millrace.wire.chat import ACCEPTED_ONLY, NOT_SUPPORTED, ChatBody
from millrace.wire.completions import CompletionBody
from millrace.wire.embeddings import TEXTS_MAX, EmbeddingList, EmbeddingsBody
from millrace.wire.errors import Envelope
from millrace.wire.files import FileDeleted, FileForm, FileList
from millrace.wire.fine_tuning import NOT_SUPPORTED as NOT_TUNED
from millrace.wire.fine_tuning import (
    FineTuningBody,
    FineTuningCheckpointList,
    FineTuningEventList,
    FineTuningJob,
    FineTuningJobList,
    TuningEstimate,
)
from millrace.wire.models import ModelCard, ModelDeleted, ModelList
from millrace.wire.receipts import BalanceForm, ReceiptForm, UsageForm
from millrace.wire.render_chat import ChatCompletion
from millrace.wire.render_completion import Completion

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/"


class PriceTierForm(Struct, frozen=True):
    """Prices per 1,000,000 tokens of a request with at most so many input tokens; null: of any length."""

    up_to_input_tokens: int | None
    input: str
    cached_input: str
    output: str


class PriceForm(Struct, frozen=True):
    """The price in force in the tenant's currency. The whole request takes the tier of its own input tokens."""

    id: str
    currency: str
    tiers: list[PriceTierForm]


class TextPart(Struct, frozen=True, kw_only=True):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class HealthForm(Struct, frozen=True):
    """The process is alive."""

    status: str


class ReadyForm(Struct, frozen=True):
    """`ready` or `not ready`, and the state of each model's engine."""

    status: str
    models: dict[str, str]


PUBLIC_NAMES: Final = {
    "ChatBody": "ChatRequest",
    "CompletionBody": "CompletionRequest",
    "EmbeddingsBody": "EmbeddingsRequest",
    "MessageBody": "Message",
    "_CallBody": "MessageToolCall",
    "_CalledFunction": "CalledFunction",
    "FormatBody": "ResponseFormat",
    "_SchemaBody": "ResponseSchema",
    "ToolBody": "Tool",
    "_FunctionBody": "ToolFunction",
    "ChoiceBody": "ToolChoice",
    "_FunctionName": "ToolChoiceFunction",
    "ChatCompletion": "ChatCompletion",
    "millrace.wire.render_chat._Choice": "ChatChoice",
    "_Message": "AnswerMessage",
    "_ToolCall": "AnswerToolCall",
    "_Function": "AnswerFunction",
    "Completion": "Completion",
    "millrace.wire.render_completion._Choice": "CompletionChoice",
    "EmbeddingList": "EmbeddingList",
    "ModelList": "ModelList",
    "ModelCard": "Model",
    "ReceiptForm": "Receipt",
    "TokensForm": "Tokens",
    "BalanceForm": "Balance",
    "UsageForm": "UsageReport",
    "UsageRowForm": "UsageRow",
    "PriceForm": "Price",
    "PriceTierForm": "PriceTier",
    "FineTuningBody": "FineTuningRequest",
    "HyperparametersBody": "HyperparametersRequest",
    "MethodBody": "TuningMethodRequest",
    "SupervisedBody": "SupervisedRequest",
    "FileForm": "File",
    "HealthForm": "Health",
    "ReadyForm": "Readiness",
    "Envelope": "ErrorEnvelope",
}
"""What a form is called outside; one that is not listed loses its underscore."""

TYPES: Final[tuple[type[Struct], ...]] = (
    ChatBody, CompletionBody, EmbeddingsBody, ChatCompletion, Completion, EmbeddingList, ModelList, ModelCard, ModelDeleted,
    FileForm, FileList, FileDeleted, FineTuningBody, TuningEstimate, FineTuningJob, FineTuningJobList, FineTuningEventList,
    FineTuningCheckpointList, PriceForm, TextPart, ReceiptForm, BalanceForm, UsageForm, HealthForm, ReadyForm, Envelope,
)  # fmt: skip

REFUSED: Final[dict[str, dict[str, str]]] = {
    "ChatRequest": dict(NOT_SUPPORTED),
    "CompletionRequest": {"suffix": "is not supported; models here continue a text, they do not fill it in"},
    "EmbeddingsRequest": {"dimensions": "is not supported; vectors have the model's own length"},
    "FineTuningRequest": dict(NOT_TUNED),
    "TuningMethodRequest": {
        "dpo": "is not supported; models are tuned by the method supervised",
        "reinforcement": "is not supported; models are tuned by the method supervised",
    },
    "Message": {"audio": "models here read text only", "function_call": "is deprecated and not supported; use tool_calls"},
    "MessageToolCall": {"custom": "is not supported: only functions can be called"},
    "Tool": {"custom": "is not supported: a tool is a function"},
    "ToolChoice": {
        "allowed_tools": "is not supported; name a function, or narrow tools",
        "custom": "is not supported; name a function, or narrow tools",
    },
}
"""Parameters of the original API that change the answer and are not honoured: 422, by name."""

_NARROWER: Final[dict[tuple[str, str], Schema]] = {
    **{("ChatRequest", name): {"enum": [*values, None], "default": None} for name, values in ACCEPTED_ONLY.items()},
    ("CompletionRequest", "echo"): {"enum": [False, None], "default": None},
    ("CompletionRequest", "prompt"): {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 1},
        ]
    },
    ("EmbeddingsRequest", "input"): {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": TEXTS_MAX},
        ]
    },
    ("Message", "content"): {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"$ref": f"{REFERENCE}TextPart"}, "minItems": 1},
            {"type": "null"},
        ],
        "default": None,
    },
    ("TuningMethodRequest", "type"): {"enum": ["supervised"]},
    ("Message", "refusal"): {"type": "null", "default": None},
    ("Model", "prices"): {"anyOf": [{"$ref": f"{REFERENCE}Price"}, {"type": "null"}], "default": None},
}
"""Where the wire's types take more than its rules let through, so that the refusal can name what is wrong."""


MAY_BE_MISSING: Final = {
    ("AnswerMessage", "reasoning_content"), ("AnswerMessage", "tool_calls"), ("Error", "limit"),
    ("UsageRow", "model"), ("UsageRow", "day"), ("UsageRow", "key"),
}  # fmt: skip
"""Fields that an answer leaves out; all others are always written, defaults included."""


def schemas() -> dict[str, Schema]:
    """The components, in the order in which the reference shows them."""
    _, found = msgspec.json.schema_components(TYPES, ref_template=f"{REFERENCE}{{name}}")
    components = {public_name(name): _renamed(schema) for name, schema in found.items()}
    if len(components) != len(found):
        raise ValueError(f"two forms have one public name: {sorted(found)}")
    for form, refused in REFUSED.items():
        for name in refused:
            del components[form]["properties"][name]
    for (form, name), schema in _NARROWER.items():
        components[form]["properties"][name] = schema
    for name, schema in components.items():
        schema["title"] = name
        if "properties" in schema and "additionalProperties" not in schema:
            schema["required"] = [field for field in schema["properties"] if (name, field) not in MAY_BE_MISSING]
    return components


def public_name(name: str) -> str:
    """'_Error' → 'Error'."""
    return PUBLIC_NAMES.get(name, name.rpartition(".")[2].lstrip("_"))


def _renamed(schema: Any) -> Any:
    """With public names in references, and patterns as JavaScript (and so JSON Schema) writes them."""
    if isinstance(schema, list):
        return [_renamed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {key: _renamed(value) for key, value in schema.items()}
    if "$ref" in renamed:
        renamed["$ref"] = REFERENCE + public_name(renamed["$ref"].removeprefix(REFERENCE))
    if isinstance(renamed.get("pattern"), str):
        renamed["pattern"] = renamed["pattern"].replace(r"\Z", "$")
    return renamed
