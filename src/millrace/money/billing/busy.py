"""Which tenants are busy on this server: a hint for who is worth a slice of credit, never a rule of the books."""

from typing import Final

from millrace.base.clock import NS_PER_S

BUSY_HOLDS: Final = 20
"""Holds within a second from which a tenant is busy."""


class Busy:
    """Counts holds per tenant and second. Written from the event loop, read from the writer's thread."""

    def __init__(self) -> None:
        self._second = 0
        self._counts: dict[str, int] = {}
        self._busy: frozenset[str] = frozenset()

    def note(self, tenant_id: str, now: int) -> None:
        self._turn(now)
        count = self._counts[tenant_id] = self._counts.get(tenant_id, 0) + 1
        if count == BUSY_HOLDS:
            self._busy |= {tenant_id}

    def tenants(self, now: int) -> frozenset[str]:
        """Those that were busy in this second or the one before."""
        return self._busy if now // NS_PER_S - self._second <= 1 else frozenset()

    def _turn(self, now: int) -> None:
        second = now // NS_PER_S
        if second != self._second:
            self._busy = frozenset(tenant for tenant, count in self._counts.items() if count >= BUSY_HOLDS)
            self._second, self._counts = second, {}
