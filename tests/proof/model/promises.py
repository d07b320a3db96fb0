"""What must be true in every state, each promise with its name. The first that a state breaks is what the search reports."""

from typing import Final

from tests.proof.model.books import Books
from tests.proof.model.state import CLOSED, RESOLVED, STARTING, TAKEN, Request, State

BALANCED: Final = "debits are credits: grant + leases + pending + revenue is what the tenant paid"
AVAILABLE: Final = "no account is below zero, so the leases never come to more than the tenant has"
PENDING: Final = "pending is the sum of the open holds"
ONCE: Final = "a hold has at most one resolution, a request at most one usage row"
WITHIN: Final = "a post is never larger than its hold"
ONLY_GOT: Final = "nobody pays for a token that he did not get"
RECORDED_FIRST: Final = "what a client got is in the journal"
COUNTED: Final = "what was delivered is billed or waived, but for what left after the last flush or after the take-over"
DOUBT_IS_ONE: Final = "a settlement waives at most the one chunk in doubt"
LATE_BY_ONE: Final = "after a take-over at most the one chunk on its way leaves"
ALL_COUNTED: Final = "when a request is finished every delivered token is billed, waived, waived late, or lost with a disk"
NO_MORE_WAIVED: Final = "nothing is waived that was not recorded"
CREDIT_COUNTS: Final = "402 only to a tenant whose credit, wherever it lies, is too small"
NOT_AT_BIRTH: Final = "no gateway is taken over before it has begun"

PROMISES: Final = (
    BALANCED, AVAILABLE, PENDING, NOT_AT_BIRTH, ONCE, WITHIN, ONLY_GOT, RECORDED_FIRST, COUNTED, DOUBT_IS_ONE, LATE_BY_ONE,
    CREDIT_COUNTS, NO_MORE_WAIVED, ALL_COUNTED,
)  # fmt: skip


def broken_promise(books: Books, s: State) -> str | None:
    """The first promise that the state breaks, or None. A finished request that was audited has no more to show."""
    promise = next(filter(None, (_broken_by_tenant(books, s, tenant) for tenant in books.tenants)), None)
    if promise is not None:
        return promise
    for request in s.requests:
        promise = None if request.step is CLOSED else _broken_by_request(books, s, request)
        if promise is not None:
            return promise
    if any(s.pending[tenant] != books.open_holds(s, tenant) for tenant in books.tenants):
        return PENDING
    if any(gateway.process is STARTING and s.epochs[gateway.epoch].life is TAKEN for gateway in s.gateways):
        return NOT_AT_BIRTH
    return None


def _broken_by_tenant(books: Books, s: State, tenant: int) -> str | None:
    slices = [epoch.slices[tenant] for epoch in s.epochs]
    if s.grant[tenant] + sum(slices) + s.pending[tenant] + s.revenue[tenant] != books.scenario.credit[tenant]:
        return BALANCED
    return AVAILABLE if s.grant[tenant] < 0 or min(slices) < 0 else None


def _broken_by_request(books: Books, s: State, request: Request) -> str | None:
    accounted = request.billed + request.waived
    settled = request.hold is RESOLVED
    kept = (
        (ONCE, request.resolutions <= 1),
        (WITHIN, request.billed <= books.held),
        (ONLY_GOT, request.billed <= request.got),
        (RECORDED_FIRST, request.got <= request.recorded),
        (COUNTED, not settled or request.got <= accounted + request.after + request.unseen),
        (DOUBT_IS_ONE, request.waived <= 1),
        (LATE_BY_ONE, request.after <= 1),
        (CREDIT_COUNTS, not request.refused_wrongly),
        (NO_MORE_WAIVED, accounted + request.late <= request.recorded),
        (ALL_COUNTED, request.got <= accounted + request.late + request.lost or not books.is_finished(s, request)),
    )
    return next((promise for promise, is_kept in kept if not is_kept), None)
