"""Embeddings (OpenAI API form): the body into an EmbeddingsRequest, vectors into the answer."""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from millrace.wire.json_body import decode_body, encode, invalid, unsupported
from millrace.wire.sampling import Label, ModelName

TEXTS_MAX: Final = 2048
"""Texts in one request, as in the original form."""


class EmbeddingsRequest(Struct, frozen=True, kw_only=True):
    """Texts to embed, in order, none empty."""

    model: str
    texts: tuple[str, ...]
    encoding: Literal["float", "base64"]
    user: str | None


class EmbeddingsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: ModelName
    input: str | Annotated[list[Any], Meta(min_length=1, max_length=TEXTS_MAX)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Any = None
    user: Label | None = None


class _Embedding(Struct, frozen=True):
    object: Literal["embedding"]
    index: int
    embedding: Sequence[float] | str


class _EmbeddingsUsage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True):
    object: Literal["list"]
    data: list[_Embedding]
    model: str
    usage: _EmbeddingsUsage


_DECODER = msgspec.json.Decoder(EmbeddingsBody)


def parse_embeddings(body: bytes) -> EmbeddingsRequest:
    """The request, or a Refusal that names the parameter."""
    asked = decode_body(body, _DECODER)
    if asked.dimensions is not None:
        unsupported("dimensions", "is not supported; vectors have the model's own length")
    texts = (asked.input,) if isinstance(asked.input, str) else tuple(asked.input)
    for index, text in enumerate(texts):
        param = "input" if isinstance(asked.input, str) else f"input[{index}]"
        if not isinstance(text, str):
            unsupported(param, "arrays of tokens are not supported; send text")
        if not text:
            invalid(param, "is empty")
    return EmbeddingsRequest(
        model=asked.model, texts=texts, encoding=asked.encoding_format or "float", user=asked.user
    )


def render_embeddings(
    model: str, vectors: Sequence[Sequence[float]], input_tokens: int, encoding: Literal["float", "base64"]
) -> bytes:
    """The whole answer, vectors in the order of the texts."""
    return encode(
        EmbeddingList(
            object="list",
            data=[
                _Embedding("embedding", index, _base64(vector) if encoding == "base64" else vector)
                for index, vector in enumerate(vectors)
            ],
            model=model,
            usage=_EmbeddingsUsage(prompt_tokens=input_tokens, total_tokens=input_tokens),
        )
    )


def _base64(vector: Sequence[float]) -> str:
    """Little-endian IEEE 754 single precision, one after the other."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
