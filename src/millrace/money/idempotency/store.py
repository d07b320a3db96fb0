"""Claims on keys in the database, in bulk: a claim belongs into the transaction of its hold, its end into the settlement's.

The space that a tenant's answers take is counted in `idempotency_space`, one row for each server's epoch: servers that share
a database do not wait for each other there, and the sum is a few rows long, whatever the number of keys. Two servers that
claim at the same moment do not see each other's rows yet: together they may go over a tenant's bound by one commit's claims.

Locks are taken in one order everywhere: keys in their order, then rows of space in theirs. A transaction that claims does
so before it ends other claims.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.money.idempotency.claim import ANSWER_BYTES_MAX, KEPT_NS, Answered, Claim, Kept, Repeated, Space, State
from millrace.store.named import Queries
from millrace.store.transaction import Scalar, Tx

EXPIRED_AT_ONCE: Final = 2_000
"""Old keys deleted in one transaction: some 20 ms. At a sweep every 2 s it keeps up with 1,000 keyed requests a second."""

COME_BACK_S: Final = 60
"""When a tenant without space may try again: keys grow old one by one."""

_SQL = Queries("millrace.money.idempotency")


class _Row(NamedTuple):
    """A claim that ends, and where its space is counted."""

    request_id: str
    tenant_id: str
    epoch: int
    size: int


def claim(tx: Tx, claims: list[Claim], now: int) -> list[Repeated | Refusal | None]:
    """Claim each key for its request, in order. None: claimed. An exception is what the request is to be answered instead:
    `Repeated` where the key is another request's, also of an earlier one in this list; a Refusal where its tenant's space is
    used up. A request that asks for the claim that it has is answered None again.
    """
    if not claims:
        return []
    owners = _owners(tx, claims)
    spaces = _spaces(tx, {each.tenant_id for each in claims})
    first: dict[str, Claim] = {}
    refused: dict[str, Refusal] = {}
    for each in claims:
        if each.key in owners or each.key in first:
            continue
        has = spaces.get(each.tenant_id, Space())
        if has.keys >= each.space_max.keys or has.bytes + ANSWER_BYTES_MAX > each.space_max.bytes:
            refused[each.request_id] = _full(has)
            continue
        spaces[each.tenant_id] = Space(keys=has.keys + 1, bytes=has.bytes + ANSWER_BYTES_MAX)
        first[each.key] = each
    if first:
        owners |= _insert(tx, sorted(first.values(), key=lambda each: each.key), now)
    return [
        refused.get(each.request_id) or (None if owners.get(each.key) == each.request_id else Repeated(each.key))
        for each in claims
    ]


def finish(tx: Tx, answers: list[Answered]) -> None:
    """Keep the answers of requests whose claims are running. One that has ended otherwise stays as it is."""
    running = _running(tx, [each.request_id for each in answers])
    if not running:
        return
    kept = [each for each in answers if each.request_id in running]
    tx.run_many(_SQL["finish"], [_columns(each) for each in kept])
    _give(tx, running.values(), bytes_left={each.request_id: len(each.answer or b"") for each in kept})


def release(tx: Tx, request_ids: list[str]) -> None:
    """Give the keys back of requests that nobody was billed for: a repeat runs anew. Ids without a claim are passed over."""
    running = _running(tx, request_ids)
    if running:
        tx.run(_SQL["release"], request_ids=list(running))
        _give(tx, running.values())


def lost(tx: Tx, request_ids: list[str]) -> None:
    """The requests were billed, and their answers are not to be had any more. Ids without a claim are passed over."""
    running = _running(tx, request_ids)
    if running:
        tx.run(_SQL["lose"], request_ids=list(running))
        _give(tx, running.values(), bytes_left=dict.fromkeys(running, 0))


def find(tx: Tx, tenant_id: str, key: str) -> Kept | None:
    """The claim on a key (its digest), if there is one."""
    row = tx.row(_SQL["find"], tenant_id=tenant_id, key=key)
    if row is None:
        return None
    request_id, body, state, status, form, answer = row
    return Kept(
        request_id=request_id, body=body, state=State(state), status=status or 0, form=form or "", answer=bytes(answer or b"")
    )


def expire(tx: Tx, now: int) -> int:
    """Forget keys whose answers have been kept long enough, the oldest first, EXPIRED_AT_ONCE of them at the most."""
    old = [_Row(*row) for row in tx.rows(_SQL["old"], before=now - KEPT_NS, limit=EXPIRED_AT_ONCE)]
    if old:
        tx.run(_SQL["release"], request_ids=[row.request_id for row in old])
        _give(tx, old)
    return len(old)


def usage_of(tx: Tx, tenant_id: str) -> Space:
    """What a tenant's keys take now."""
    return _spaces(tx, {tenant_id}).get(tenant_id, Space())


def _owners(tx: Tx, claims: list[Claim]) -> dict[str, str]:
    """The requests that have the keys."""
    return dict(tx.rows(_SQL["owners"], keys=[each.key for each in claims]))


def _insert(tx: Tx, claims: list[Claim], now: int) -> dict[str, str]:
    """Who has the keys now: these claims, but where another server was faster."""
    tx.run_many(
        _SQL["claim"],
        [
            {
                "key": each.key, "tenant_id": each.tenant_id, "body": each.body, "request_id": each.request_id,
                "epoch": each.epoch, "created_at": now, "size": ANSWER_BYTES_MAX,
            }
            for each in claims
        ],
    )  # fmt: skip
    owners = _owners(tx, claims)
    made = Counter((each.tenant_id, each.epoch) for each in claims if owners.get(each.key) == each.request_id)
    tx.run_many(
        _SQL["take_space"],
        [
            {"tenant_id": tenant_id, "epoch": epoch, "keys": keys, "bytes": keys * ANSWER_BYTES_MAX}
            for (tenant_id, epoch), keys in sorted(made.items())
        ],
    )
    return owners


def _running(tx: Tx, request_ids: list[str]) -> dict[str, _Row]:
    rows = tx.rows(_SQL["running"], request_ids=request_ids) if request_ids else []
    return {row[0]: _Row(*row) for row in rows}


def _columns(answered: Answered) -> dict[str, Scalar]:
    state = State.TOO_LARGE if answered.answer is None else State.KEPT
    return {
        "request_id": answered.request_id, "state": state.value, "status": answered.status, "form": answered.form,
        "answer": answered.answer, "size": len(answered.answer or b""),
    }  # fmt: skip


def _give(tx: Tx, ended: Iterable[_Row], *, bytes_left: dict[str, int] | None = None) -> None:
    """Give back the space of claims that ended: what they still take is `bytes_left`; None where they are gone."""
    keys: Counter[tuple[str, int]] = Counter()
    freed: Counter[tuple[str, int]] = Counter()
    for row in ended:
        at = (row.tenant_id, row.epoch)
        keys[at] += bytes_left is None
        freed[at] += row.size - (0 if bytes_left is None else bytes_left[row.request_id])
    changes: list[dict[str, Any]] = [
        {"tenant_id": at[0], "epoch": at[1], "keys": keys[at], "bytes": freed[at]} for at in sorted(freed)
    ]
    tx.run_many(_SQL["give_space"], changes)
    gone = [{"tenant_id": each["tenant_id"], "epoch": each["epoch"]} for each in changes if each["keys"]]
    tx.run_many(_SQL["forget_space"], gone)


def _spaces(tx: Tx, tenant_ids: set[str]) -> dict[str, Space]:
    rows = tx.rows(_SQL["spaces"], tenant_ids=sorted(tenant_ids))
    return {tenant_id: Space(keys=int(keys), bytes=int(size)) for tenant_id, keys, size in rows}


def _full(has: Space) -> Refusal:
    return Refusal(
        Reason.RATE_LIMIT_EXCEEDED,
        f"this tenant has {has.keys} answers kept for repetition ({has.bytes} bytes), which is all that it may; each is "
        "kept for 24 hours: come back later, or send the request without Idempotency-Key",
        limit="idempotency_keys",
        retry_after_s=COME_BACK_S,
    )
