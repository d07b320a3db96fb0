"""Token counts in the OpenAI API form."""

from msgspec import Struct

from millrace.generation.chunk import TokenCounts


class PromptTokensDetails(Struct, frozen=True, gc=False):
    """Part of `prompt_tokens`."""

    cached_tokens: int


class CompletionTokensDetails(Struct, frozen=True, gc=False):
    """Part of `completion_tokens`."""

    reasoning_tokens: int


class Usage(Struct, frozen=True, gc=False):
    """The `usage` object of an answer or of a stream's last frame."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


def to_usage(counts: TokenCounts) -> Usage:
    """The counts as a caller sees them."""
    return Usage(
        counts.input,
        counts.output,
        counts.input + counts.output,
        PromptTokensDetails(counts.cached_input),
        CompletionTokensDetails(counts.reasoning),
    )
