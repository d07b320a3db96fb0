"""An order to an engine: the prompt, how to sample, and how much may be made at most."""

from typing import Any, Literal

from msgspec import Struct

from millrace.generation.prompt import Prompt


class ResponseFormat(Struct, frozen=True, kw_only=True):
    """The form the text must have; `schema` (a JSON schema) only with kind 'json_schema'."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How tokens are drawn. None means: not said by the caller, the engine's own default holds.

    The field names are the public parameter names, and an engine lists those it honours (`Engine.honours`): whatever
    is set here and not on that list is refused by that name before anything is held or generated.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None
    response_format: ResponseFormat | None = None
    tools: bool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None

    def named(self) -> tuple[str, ...]:
        """The names of the parameters that were set."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name) is not None)


class Order(Struct, frozen=True, kw_only=True):
    """One generation. `max_tokens` bounds the output tokens of *each* of the `n` choices and is always set by the gateway."""

    request_id: str
    prompt: Prompt
    sampling: Sampling
    max_tokens: int
    stream: bool
    """False: the caller wants the whole answer at once, so an engine may answer with one Chunk per choice."""

    @property
    def choices(self) -> int:
        return self.sampling.n or 1
