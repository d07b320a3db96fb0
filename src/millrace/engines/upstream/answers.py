"""Between bytes and chunks, with every form of nonsense turned into a refusal that names the model."""

from collections.abc import Sequence

import msgspec
from msgspec import structs

from millrace.engines.protocol import Embeddings, broke
from millrace.engines.upstream.client import Client
from millrace.engines.upstream.frames import EmbeddingAnswer, Frame, decode_embeddings, decode_frame
from millrace.engines.upstream.meter import BadFrameError, CountText, Meter
from millrace.engines.upstream.render import encode
from millrace.generation.chunk import Chunk, CountedBy

EMBEDDINGS_PATH = "/embeddings"


def metered(meter: Meter, frame: Frame, model: str) -> list[Chunk]:
    """The chunks of one frame of a stream."""
    try:
        return meter.take(frame)
    except BadFrameError:
        raise broke(model) from None


def burst(meter: Meter, frames: Sequence[Frame], model: str) -> list[Chunk]:
    """The chunks of frames that came together; all but the last say so."""
    chunks = [chunk for frame in frames for chunk in metered(meter, frame, model)]
    if len(chunks) > 1:
        chunks[:-1] = [structs.replace(chunk, more=True) for chunk in chunks[:-1]]
    return chunks


def whole(meter: Meter, answer: bytes, model: str) -> list[Chunk]:
    """The chunks of an answer in one piece; every choice must have come to its end."""
    try:
        chunks = meter.take_whole(decode_frame(answer))
    except (BadFrameError, msgspec.DecodeError):
        raise broke(model) from None
    if not meter.complete:
        raise broke(model)
    return chunks


async def embed_upstream(client: Client, upstream: str, texts: Sequence[str], count_text: CountText) -> Embeddings:
    """The vectors of `texts` in their order."""
    answer = await client.post(EMBEDDINGS_PATH, encode({"model": upstream, "input": list(texts)}))
    try:
        return _from_answer(decode_embeddings(answer), texts, count_text)
    except (BadFrameError, msgspec.DecodeError):
        raise broke(client.upstream.model) from None


def _from_answer(answer: EmbeddingAnswer, texts: Sequence[str], count_text: CountText) -> Embeddings:
    data = sorted(answer.data, key=lambda vector: vector.index)
    if [vector.index for vector in data] != list(range(len(texts))):
        raise BadFrameError(f"it answered {len(texts)} texts with {len(data)} vectors")
    vectors = tuple(vector.embedding for vector in data)
    if answer.usage is None or answer.usage.prompt_tokens is None:
        return Embeddings(vectors, sum(map(count_text, texts)), CountedBy.RELEASED_TEXT)
    return Embeddings(vectors, answer.usage.prompt_tokens, CountedBy.ENGINE)
