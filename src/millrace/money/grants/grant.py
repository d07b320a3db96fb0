"""A grant, and what a tenant may spend."""

from enum import StrEnum

from msgspec import Struct


class Funding(StrEnum):
    """Whose money a grant is: it decides which account stands against it, and whether its use is revenue."""

    CUSTOMER = "customer"
    OPERATOR = "operator"
    SPONSOR = "sponsor"


PRIORITY = {Funding.OPERATOR: 10, Funding.SPONSOR: 20, Funding.CUSTOMER: 30}
"""The lower is spent first: given value before paid value, so that nobody's own money goes while a gift lies unused."""


class Grant(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    amount: int
    currency: str
    funding: Funding
    priority: int
    expires_at: int | None
    idempotency_key: str | None
    created_at: int


class Balance(Struct, frozen=True, kw_only=True):
    """What a tenant has, in nano-units: `balance` with what running requests hold, `available` without, plus the credit
    limit.
    """

    currency: str
    balance: int
    held: int
    credit_limit: int

    @property
    def available(self) -> int:
        return self.balance - self.held + self.credit_limit
