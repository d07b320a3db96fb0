"""A text completion's answer as a stream of frames (OpenAI API form). Not covered: reasoning; it has no place here."""

from millrace.generation.chunk import Chunk
from millrace.wire.answer_ids import COMPLETION, answer_id
from millrace.wire.frames import Frames
from millrace.wire.json_body import encode
from millrace.wire.logprobs import CompletionLogprobs, to_completion_logprobs


class CompletionFrames(Frames):
    """The frames of one text completion; keeps how far into its text each choice's log probabilities have got."""

    def __init__(
        self, request_id: str, model: str, created: int, *, choices: int = 1, include_usage: bool = False
    ) -> None:
        super().__init__(
            answer_id(COMPLETION, request_id), "text_completion", model, created, include_usage=include_usage
        )
        self._heads = [self._head + b'{"index":%d,"text":' % index for index in range(choices)]
        self._text_end = b',"logprobs":null,"finish_reason":null}' + self._end
        self._offsets = [0] * choices

    def opening(self, choice: int = 0) -> bytes:  # noqa: ARG002
        """Nothing: this form does not say who speaks."""
        return b""

    def chunk(self, chunk: Chunk, usage_each: bool = False) -> bytes:
        if usage_each or chunk.finish or chunk.logprobs is not None:
            return self._typed(chunk, usage_each)
        if not chunk.text:
            return b""
        return self._heads[chunk.choice] + encode(chunk.text) + self._text_end

    def _typed(self, chunk: Chunk, usage_each: bool) -> bytes:
        return b"".join(
            (
                self._heads[chunk.choice],
                encode(chunk.text),
                b',"logprobs":',
                encode(self._logprobs(chunk)),
                b',"finish_reason":',
                encode(chunk.finish),
                b"}",
                self._end_with(chunk.counts) if usage_each else self._end,
            )
        )

    def _logprobs(self, chunk: Chunk) -> CompletionLogprobs | None:
        if chunk.logprobs is None:
            return None
        offset = self._offsets[chunk.choice]
        self._offsets[chunk.choice] += sum(len(drawn.token) for drawn in chunk.logprobs)
        return to_completion_logprobs(chunk.logprobs, offset)
