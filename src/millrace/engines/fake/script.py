"""What a fake engine is told to do."""

from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason
from millrace.generation.order import Sampling

EVERY_PARAMETER: Final = frozenset(Sampling.__struct_fields__)


class FakeScript(Struct, frozen=True, kw_only=True):
    """What happens to each order. Assign another one to `FakeEngine.script`, also between two orders."""

    tokens: int = 16
    """Text tokens of each choice before it stops by itself; a tool call or JSON has the tokens that its text needs."""
    opening: str = ""
    """What the text of each choice begins with, as one token more; not where JSON is wanted."""
    reasoning_tokens: int = 0
    """Tokens of reasoning before the text of each choice; an order with reasoning_effort 'none' gets none."""
    cached_input_percent: int = 0
    """How much of the input is reported as found in the cache, 0 to 100, rounded down."""
    load_delay_s: float = 0.0
    """Seconds from `start` to READY."""
    first_token_delay_s: float = 0.0
    token_delay_s: float = 0.0
    """Seconds before each burst, slept on the clock that the engine was given."""
    burst: int = 1
    """Tokens of each choice that arrive together, without a pause in which another task could run."""
    fail_after_tokens: int | None = None
    """After so many output tokens of the whole request the engine breaks: ENGINE_FAILED."""
    hang_after_tokens: int | None = None
    """After so many output tokens nothing comes any more, until the caller gives up."""
    refuse: Reason | None = None
    """Refuse each order with this reason before anything is made."""


class FakeSettings(Struct, frozen=True, kw_only=True):
    """A fake engine as it is declared."""

    model: str
    context_tokens: int = 32_768
    embeds: bool = True
    embedding_dimensions: int = 64
    honours: frozenset[str] = EVERY_PARAMETER
    script: FakeScript = FakeScript()
