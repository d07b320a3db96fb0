"""A model that a tenant tuned: an adapter on a base model. Frozen: its end is a row of its own."""

import hashlib
from typing import Final

from msgspec import Struct

PREFIX: Final = "ft:"
"""What every tuned model's name begins with, so that other names need not be looked up."""

BASE_SHOWN: Final = 40
TENANT_SHOWN: Final = 32
SUFFIX_SHOWN: Final = 40
"""Characters of each that stand in a name, so that it fits into the 128 that a model's name may have."""

_ID_DIGITS: Final = 8


class TunedModel(Struct, frozen=True, kw_only=True):
    """One adapter, made by one job, for one tenant."""

    name: str
    tenant_id: str
    base: str
    """The model on offer that serves it with the adapter, and at whose price it is sold."""
    job_id: str
    sha256: str
    """Of the adapter's GGUF file, by which the file is called."""
    created_at: int
    """Nanoseconds."""


def tuned_name(base: str, tenant: str, job_id: str, suffix: str = "") -> str:
    """What the model of a job is called: 'ft:<base>:<tenant>:<suffix>:<id>'. The same job has the same name each time.

    `tenant` is the tenant's handle. The id at the end tells models apart; what stands before it is for people.
    """
    identifier = hashlib.sha256(job_id.encode()).hexdigest()[:_ID_DIGITS]
    return f"{PREFIX}{base[:BASE_SHOWN]}:{tenant[:TENANT_SHOWN]}:{suffix[:SUFFIX_SHOWN]}:{identifier}"


def is_tuned_on(name: str, base: str) -> bool:
    """Whether a name says that its model was tuned on that base, whose price it then has."""
    return name.startswith(f"{PREFIX}{base[:BASE_SHOWN]}:")


def is_tuned(name: str) -> bool:
    """Whether a name can be a tuned model's."""
    return name.startswith(PREFIX)
