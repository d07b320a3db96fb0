"""Orders served in one transaction: what they touch is read and locked, the desk serves them, what changed is written in bulk.

Locks are taken in one order by everybody (epoch, holds, accounts, budgets, buckets), each kind by its key, so that servers
wait for each other and never in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from millrace.base.times import month_of
from millrace.generation.chunk import NO_TOKENS
from millrace.money.allowances import store as allowances
from millrace.money.billing import store
from millrace.money.billing.desk import Desk, Ours
from millrace.money.billing.orders import Order, ToExtend, ToFlush, ToHold, ToSettle, ToTend
from millrace.money.grants import store as grants
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import Answered
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.ledger.sheet import Sheet
from millrace.money.metering import store as metering
from millrace.money.metering.usage import Usage
from millrace.money.rating.rate import upper_bound
from millrace.money.rating.store import price_by_id
from millrace.money.slices import store as slices
from millrace.money.slices.slice import Slice, is_idle
from millrace.store.transaction import Tx

SOURCES_FIRST: Final = 4
"""Grants of a tenant looked at first: nearly every hold fits into the first one, and a tenant may have thousands."""

_LAST: Final = 2**63 - 1
"""The rank of what a postpaid tenant may owe: after every grant."""


def serve(tx: Tx, orders: Sequence[Order], ours: Ours, now: int) -> list[Any]:
    """An answer for each order, in order: a value, or the exception that it is refused with."""
    kinds = _by_kind(orders)
    desk = Desk(ours, now, Sheet())
    _load_holds(tx, kinds, desk)
    taken = _claim(tx, kinds, desk)
    _load(tx, kinds, desk)
    answers = [_answer(desk, order, taken) for order in orders]
    for tending in kinds.tending:  # after the holds: one that was promised a slice finds it there
        _tend(desk, tending)
    _save(tx, desk)
    _end_claims(tx, orders, answers)
    for settlement in kinds.settlements:
        if settlement.also is not None and settlement.request_id in desk.resolved:
            settlement.also(tx, desk.settled[settlement.request_id])
    for order in kinds.flushes:
        store.flush(tx, ours.epoch, order.marks)
    return answers


class _Kinds(NamedTuple):
    """The orders of a batch by what they ask."""

    holds: list[ToHold]
    extensions: list[ToExtend]
    settlements: list[ToSettle]
    flushes: list[ToFlush]
    tending: list[ToTend]

    @property
    def drawing(self) -> list[ToHold | ToExtend]:
        """Those that take value from somewhere."""
        return [*self.holds, *self.extensions]

    @property
    def under_way(self) -> list[ToExtend | ToSettle]:
        """Those whose hold is there already."""
        return [*self.extensions, *self.settlements]


def _by_kind(orders: Sequence[Order]) -> _Kinds:
    found: dict[type, list[Any]] = {kind: [] for kind in (ToHold, ToExtend, ToSettle, ToFlush, ToTend)}
    for order in orders:
        found[type(order)].append(order)
    return _Kinds(found[ToHold], found[ToExtend], found[ToSettle], found[ToFlush], found[ToTend])


def _answer(desk: Desk, order: Order, taken: Mapping[str, Exception]) -> object:
    if isinstance(order, ToHold):
        return taken.get(order.request_id) or desk.hold(order)
    if isinstance(order, ToSettle):
        return desk.settle(order)
    if isinstance(order, ToExtend):
        return desk.extend(order)
    return desk.ours.living if isinstance(order, ToTend) else None


def _tend(desk: Desk, order: ToTend) -> None:
    def wanted(one: Slice) -> bool:
        if one.epoch in desk.ours.taken:
            return True
        return one.epoch == desk.ours.epoch and (order.all or is_idle(one, desk.now))

    desk.give_back(wanted)


def _claim(tx: Tx, kinds: _Kinds, desk: Desk) -> dict[str, Exception]:
    """What holds are refused with because their Idempotency-Key is taken."""
    claims = [order.claim for order in kinds.holds if order.claim is not None and order.request_id not in desk.holds]
    answers = idempotency.claim(tx, claims, desk.now)
    return {one.request_id: answer for one, answer in zip(claims, answers, strict=True) if answer is not None}


def _end_claims(tx: Tx, orders: Sequence[Order], answers: Sequence[Any]) -> None:
    """A claim ends with its request: kept with the answer, lost without one, given back where nobody was billed."""
    freed: list[str] = []
    kept: list[Answered] = []
    lost: list[str] = []
    for order, answer in zip(orders, answers, strict=True):
        if isinstance(order, ToHold) and order.claim is not None and isinstance(answer, Exception):
            freed.append(order.request_id)
        elif isinstance(order, ToSettle) and order.keyed and isinstance(answer, Usage):
            if answer.tokens == NO_TOKENS:
                freed.append(order.request_id)
            elif order.answer is not None:
                kept.append(order.answer)
            else:
                lost.append(order.request_id)
    idempotency.release(tx, freed)
    idempotency.finish(tx, kept)
    idempotency.lost(tx, lost)


def _load(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    _load_slices(tx, kinds, desk)
    used_up = _load_sources(tx, kinds, desk)
    _lock_accounts(tx, kinds, desk)
    _look_again(tx, kinds, desk)
    grants.forget(tx, [one for one in used_up if desk.sheet.accounts[one.account].unspent == 0])
    _load_budgets(tx, kinds, desk)
    _load_buckets(tx, kinds, desk)


def _load_holds(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    """A request that has no open hold may be settled already."""
    asked = [order.request_id for order in (*kinds.drawing, *kinds.settlements)]
    desk.holds = store.lock_holds(tx, asked)
    desk.settled = metering.by_requests(tx, [request_id for request_id in asked if request_id not in desk.holds])
    for order in kinds.settlements:
        held = desk.holds.get(order.request_id)
        if order.price is None and held is not None and held.price_id not in desk.prices:
            desk.prices[held.price_id] = price_by_id(tx, held.price_id)


def _by_payer(kinds: _Kinds) -> dict[tuple[str, str], list[ToHold | ToExtend]]:
    """The orders that take value, by the purse that they take it from."""
    purses: dict[tuple[str, str], list[ToHold | ToExtend]] = {}
    for order in kinds.drawing:
        purses.setdefault((order.payer.tenant_id, order.payer.currency), []).append(order)
    return purses


def _need(desk: Desk, orders: Iterable[ToHold | ToExtend]) -> int:
    """The most that the orders can come to."""
    need = 0
    for order in orders:
        input_bound = order.input_bound if isinstance(order, ToHold) else _input_bound(desk, order.request_id)
        need += upper_bound(input_bound, order.output_bound, order.price)
    return need


def _input_bound(desk: Desk, request_id: str) -> int:
    held = desk.holds.get(request_id)
    return 0 if held is None else held.input_bound


def _load_slices(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    found = slices.of_tenants(tx, {order.payer.tenant_id for order in kinds.drawing})
    if kinds.tending:
        found += slices.of_epochs(tx, {desk.ours.epoch, *desk.ours.taken})
    desk.slices = {one.account: one for one in found}


def _load_sources(tx: Tx, kinds: _Kinds, desk: Desk) -> list[grants.Live]:
    """Slices of ours come where the account that they are of would; with enough in them, nothing else is looked at.

    Returns grants that were used up when they were looked at, of those who have many: something may come back until they are
    locked.
    """
    asked = _by_payer(kinds)
    ours: dict[tuple[str, str], list[Slice]] = {purse: [] for purse in asked}
    for one in desk.slices.values():
        if one.epoch == desk.ours.epoch and (one.tenant_id, one.currency) in ours:
            ours[one.tenant_id, one.currency].append(one)
    short = {
        purse for purse, orders in asked.items()
        if not ours[purse] or _need(desk, orders) > sum(_usable(one, desk.now) for one in ours[purse])
    }  # fmt: skip
    live, used_up = _live(tx, {purse: asked[purse] for purse in short}, desk)
    for purse in asked:
        desk.sources[purse] = _in_order(desk, purse, ours[purse], live.get(purse, []), credit=purse in short)
    return used_up


def _usable(one: Slice, now: int) -> int:
    return 0 if one.recalled or one.expires_at <= now else one.free


def _live(
    tx: Tx, asked: Mapping[tuple[str, str], list[ToHold | ToExtend]], desk: Desk
) -> tuple[dict[tuple[str, str], list[grants.Live]], list[grants.Live]]:
    """The first live grants of each purse, and all of one for which these are not enough; of the latter, those used up."""
    tenants = {tenant for tenant, _ in asked}
    found = _by_purse(grants.live(tx, tenants, desk.now, first=SOURCES_FIRST)) if tenants else {}
    desk.cut = {purse for purse, some in found.items() if len(some) == SOURCES_FIRST}
    more = {purse for purse in desk.cut if sum(one.free for one in found[purse]) < _need(desk, asked.get(purse, ()))}
    desk.cut -= more
    if more:
        found |= _by_purse(grants.live(tx, {tenant for tenant, _ in more}, desk.now))
    return found, [one for purse in more for one in found[purse] if one.unspent == 0]


def _by_purse(found: Iterable[grants.Live]) -> dict[tuple[str, str], list[grants.Live]]:
    purses: dict[tuple[str, str], list[grants.Live]] = {}
    for one in found:
        purses.setdefault((one.tenant_id, one.currency), []).append(one)
    return purses


def _in_order(
    desk: Desk, purse: tuple[str, str], slices: list[Slice], live: list[grants.Live], *, credit: bool
) -> list[str]:
    """Accounts by rank, a slice before the account that it is of; what a postpaid tenant may owe comes last."""
    ranked = [((one.priority, one.expires_at), 0, one.account) for one in slices]
    ranked += [((one.priority, one.expires_at), 1, one.account) for one in live]
    if credit:
        ranked.append(((_LAST, _LAST), 1, names.receivable(*purse)))
    for rank, is_origin, account in ranked:
        if is_origin:
            desk.ranks[account] = rank
    return [account for _, _, account in sorted(ranked, key=lambda one: one[:2])]


def _lock_accounts(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    """All that the batch may touch, at once and in one order. A model's first request finds no revenue account yet."""
    wanted = {account for accounts in desk.sources.values() for account in accounts}
    wanted |= {names.lease(desk.ours.epoch, account) for account in wanted if _may_slice(desk, account)}
    sold = {(order.payer.currency, order.model) for order in kinds.drawing}
    revenue = {(names.revenue(currency, model, desk.ours.slot), currency) for currency, model in sold}
    wanted |= {account for account, _ in revenue}
    for order in kinds.under_way:
        held = desk.holds.get(order.request_id)
        for leg in () if held is None else held.draws:
            wanted.add(leg.account)
            wanted.add(leg.revenue)
    if kinds.tending:
        mine = {desk.ours.epoch, *desk.ours.taken}
        wanted |= {name for one in desk.slices.values() if one.epoch in mine for name in (one.account, one.origin)}
    for account in ledger.lock(tx, wanted):
        desk.sheet.add(account)
    missing = sorted((account, currency) for account, currency in revenue if account not in desk.sheet.accounts)
    for account_id, currency in missing:
        ledger.open_account(tx, account_id, currency, overdraft=None)
    for account in ledger.lock(tx, [account_id for account_id, _ in missing]):
        desk.sheet.add(account)
    for accounts in desk.sources.values():
        accounts[:] = [account for account in accounts if account in desk.sheet.accounts]


def _look_again(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    """Where too little is left: until the accounts were locked another server may have taken a slice that was not there before,
    so nobody is told that there is no credit before these are known.
    """
    short = {
        purse for purse, orders in _by_payer(kinds).items()
        if _need(desk, orders) > sum(desk.sheet.accounts[account].free for account in desk.sources[purse])
    }  # fmt: skip
    for one in slices.of_tenants(tx, {tenant for tenant, _ in short}):
        if one.epoch != desk.ours.epoch:
            desk.slices[one.account] = one


def _may_slice(desk: Desk, account: str) -> bool:
    return desk.ours.living > 1 and bool(desk.ours.busy) and account not in desk.slices


def _load_budgets(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    keys = {order.payer.key_id for order in kinds.holds if order.payer.budget is not None}
    wanted = {(key, month_of(desk.now).name) for key in keys}
    for order in kinds.under_way:
        held = desk.holds.get(order.request_id)
        if held is not None and held.budget_month is not None:
            wanted.add((held.key_id, held.budget_month))
    desk.budgets = allowances.lock_budgets(tx, wanted)


def _load_buckets(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    rates = [one for order in kinds.holds for one in order.rates]
    rates += [order.unused for order in kinds.settlements if order.unused is not None]
    desk.buckets = allowances.lock_buckets(tx, {(one.key_id, one.name): one.limit for one in rates}, desk.now)


def _save(tx: Tx, desk: Desk) -> None:
    for account in desk.opened:
        ledger.open_account(tx, account.id, account.currency, overdraft=account.overdraft)
    ledger.write(tx, desk.sheet)
    store.insert_holds(tx, [one for one in desk.made.values() if one.request_id not in desk.settled])
    store.extend_holds(tx, desk.extended.values())
    store.delete_holds(tx, desk.resolved)
    metering.insert(tx, desk.usage)
    allowances.save_budgets(tx, {key: desk.budgets[key] for key in desk.budgets_changed})
    allowances.save_buckets(tx, {key: desk.buckets[key] for key in desk.buckets_changed})
    _save_slices(tx, desk)


def _save_slices(tx: Tx, desk: Desk) -> None:
    changed = [desk.slices[account] for account in sorted(desk.slices_changed - desk.slices_closed)]
    slices.save(tx, [one for one in changed if one.epoch == desk.ours.epoch])
    slices.recall(tx, [one.account for one in changed if one.epoch != desk.ours.epoch])
    slices.close(tx, desk.slices_closed)
    grants.revive(tx, desk.revived)
