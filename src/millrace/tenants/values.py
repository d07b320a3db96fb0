"""What a tenant, a project and a key are, and what a caller may do. Frozen: a change is a new row in the store."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal

NAMES_SHOWN_MAX: Final = 20
"""Model names in one refusal: enough to find the typing error, not a page."""


class Mode(StrEnum):
    """How a tenant pays: from credit bought before, or by an invoice up to a credit limit."""

    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class Scope(StrEnum):
    """What a key opens."""

    INFERENCE = "inference"
    READ = "read"
    """The tenant's own receipts, balance and usage."""


class Tenant(Struct, frozen=True, kw_only=True):
    """Who pays. `credit_limit` is in nano-units of `currency` and is 0 for a prepaid tenant; times are nanoseconds."""

    id: str
    name: str
    mode: Mode
    currency: str
    credit_limit: int
    created_at: int
    suspended: bool


class Project(Struct, frozen=True, kw_only=True):
    """A part of a tenant that has keys of its own."""

    id: str
    tenant_id: str
    name: str
    created_at: int


class Key(Struct, frozen=True, kw_only=True):
    """A key without its secret, which is nowhere. None means no limit of its own."""

    id: str
    project_id: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    rpm: int | None
    """Requests per minute."""
    tpm: int | None
    """Tokens per minute."""
    budget: int | None
    """Nano-units of the tenant's currency per UTC month."""
    created_at: int
    revoked_at: int | None


class Caller(Struct, frozen=True, kw_only=True):
    """Who sent a request: the key, and the project and tenant it belongs to."""

    tenant: Tenant
    project: Project
    key: Key

    def require(self, scope: Scope) -> None:
        """Raises SCOPE_MISSING unless the key has the scope."""
        if scope not in self.key.scopes:
            has = ", ".join(sorted(self.key.scopes))
            raise Refusal(
                Reason.SCOPE_MISSING,
                f"key {self.key.id} lacks the scope {scope.value!r} (it has: {has}); use a key that has it",
            )

    def require_model(self, name: str) -> None:
        """Raises MODEL_NOT_ALLOWED unless the key may use the model; whether there is one, the catalogue says."""
        allowed = self.key.models
        if allowed is not None and name not in allowed:
            shown = ", ".join(sorted(allowed)[:NAMES_SHOWN_MAX])
            raise Refusal(
                Reason.MODEL_NOT_ALLOWED,
                f"key {self.key.id} may not use model {name[:80]!r}; it may use: {shown}",
                param="model",
            )


class Suspension(Struct, frozen=True, kw_only=True):
    """A time in which a tenant was refused service, with its reason; `lifted_at` is None while it lasts."""

    id: str
    tenant_id: str
    reason: str
    at: int
    lifted_at: int | None


class Revocation(Struct, frozen=True, kw_only=True):
    """The end of a key. Final: a revoked key never comes back, make another."""

    key_id: str
    reason: str
    at: int
    repeated: bool
    """True when the key had been revoked before: `at` and `reason` are those of the first time."""
