"""Token counts in the API's form."""

from millrace.generation.chunk import TokenCounts
from millrace.wire.json_body import encode
from millrace.wire.usage import to_usage


def test_the_total_counts_nothing_twice() -> None:
    """Cached input is part of the prompt and reasoning part of the completion, so the total is input plus output."""
    counts = TokenCounts(input=100, cached_input=64, output=20, reasoning=15)
    assert encode(to_usage(counts)) == (
        b'{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,'
        b'"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":15}}'
    )
