"""Slices of a tenant's credit that a server holds for its own holds (escrow leases): values and rules, no I/O.

A slice is moved out of the account that it comes from, by a transfer like any other, so the account's own constraint keeps
Σ slices ≤ what is there: no crash and no partition can overspend. Where little is left nobody takes a slice any more
(strict mode), and those that others hold are asked back.
"""

from typing import Final

from msgspec import Struct

from millrace.base.clock import NS_PER_S

STRICT_HOLDS: Final = 8
"""With less than so many holds of the size in question left, each goes to the account itself."""

SHARE: Final = 4
"""A slice is the free credit over SHARE × the servers alive: when each has one, three quarters are left."""

IDLE_NS: Final = NS_PER_S
"""A slice that no hold drew on for so long goes back."""


Rank = tuple[int, int]
"""In which order accounts are drawn on: priority, then what expires first."""


class Slice(Struct):
    """A lease, in the words of its row, with what was free in its account when it was read."""

    account: str
    epoch: int
    tenant_id: str
    currency: str
    origin: str
    priority: int
    expires_at: int
    used_at: int
    recalled: bool = False
    free: int = 0


def slice_of(free: int, amount: int, living: int) -> int:
    """How much to take for a hold of that amount; 0 in strict mode."""
    size = free // (SHARE * living)
    return size if free >= STRICT_HOLDS * amount and size >= amount else 0


def is_idle(one: Slice, now: int) -> bool:
    return one.recalled or now - one.used_at >= IDLE_NS or one.expires_at <= now
