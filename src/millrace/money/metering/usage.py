"""The usage row: what one request consumed, by class of token, who counted, and the price component that rated it."""

from enum import StrEnum

from msgspec import Struct

from millrace.generation.chunk import CountedBy, TokenCounts


class Status(StrEnum):
    """How a request ended: by itself or at a limit, because the client left or stopped it, or because something broke.
    """

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Usage(Struct, frozen=True, kw_only=True):
    """Immutable from the moment it is written. `amount` is what billing froze beside it, in nano-units; no rule here
    reads it.
    """

    request_id: str
    tenant_id: str
    project_id: str
    key_id: str
    model: str
    status: Status
    counted_by: CountedBy
    tokens: TokenCounts
    waived: int
    price_id: str
    tier: int
    amount: int
    currency: str
    epoch: int
    started_at: int
    finished_at: int
    invoice_id: str | None = None


class UsageSum(Struct, frozen=True, kw_only=True):
    """Sums over usage rows that share `key` (a model, a UTC day or a key id)."""

    key: str
    currency: str
    requests: int
    tokens: TokenCounts
    waived: int
    amount: int
