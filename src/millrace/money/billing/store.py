"""The desk on the database: what a batch of orders touches is read and locked, and what changed is written in bulk.

Locks are taken in one order by everybody (epoch, holds, accounts, budgets, buckets), each kind by its key, so that servers
wait for each other and never in a circle.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from millrace.base.bucket import NS_PER_MS, Bucket
from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import month_of
from millrace.generation.chunk import NO_TOKENS
from millrace.money.billing.desk import Budget, Desk, Ours
from millrace.money.billing.hold import Leg, OpenHold
from millrace.money.billing.orders import Order, ToExtend, ToFlush, ToHold, ToSettle, ToTend
from millrace.money.billing.slices import Slice, is_idle
from millrace.money.grants import store as grants
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import Answered
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.money.ledger.sheet import Sheet
from millrace.money.metering import store as metering
from millrace.money.metering.journal import Watermark, read_record
from millrace.money.metering.usage import Status, Usage
from millrace.money.rating.rate import upper_bound
from millrace.money.rating.store import price_by_id
from millrace.store.named import Queries
from millrace.store.transaction import Tx, Values

CREDIT_LIMIT_MAX = 2**62
"""What the ledger lets an account be overdrawn by: 4.6 thousand million units of a currency."""

SOURCES_FIRST: Final = 4
"""Grants of a tenant looked at first: nearly every hold fits into the first one, and a tenant may have thousands."""

_SQL = Queries("millrace.money.billing")

_HOLD_COLUMNS: Final = (
    "request_id", "tenant_id", "project_id", "key_id", "model", "price_id", "input_bound", "output_bound", "amount", "currency",
    "legs", "draws", "budget_month", "epoch", "started_at",
)  # fmt: skip

_LAST: Final = 2**63 - 1
"""The rank of what a postpaid tenant may owe: after every grant."""

_draws_of = msgspec.json.Decoder(tuple[Leg, ...]).decode
_render_draws = msgspec.json.Encoder().encode

T = TypeVar("T")


def open_credit(tx: Tx, tenant_id: str, currency: str, credit_limit: int) -> None:
    """The account of what a postpaid tenant owes; it can go as far below zero as the credit limit."""
    if credit_limit > CREDIT_LIMIT_MAX:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"credit_limit: {render_amount(credit_limit)} is more than an account can be overdrawn "
            f"({render_amount(CREDIT_LIMIT_MAX)})",
            param="credit_limit",
        )
    ledger.open_account(tx, names.receivable(tenant_id, currency), currency, overdraft=credit_limit)


def serve(tx: Tx, orders: Sequence[Order], ours: Ours, now: int) -> list[Any]:
    """An answer for each order, in order: a value, or the exception that it is refused with."""
    kinds = _by_kind(orders)
    desk = Desk(ours, now, Sheet())
    _load_holds(tx, kinds, desk)
    taken = _claim(tx, kinds, desk)
    _load(tx, kinds, desk)
    answers = [_answer(desk, order, taken) for order in orders]
    _save(tx, desk)
    _end_claims(tx, orders, answers)
    for flush in kinds.flushes:
        tx.run_many(
            _SQL["flush"], [{"request_id": id_, "watermark": mark, "epoch": ours.epoch} for id_, mark in flush.marks]
        )
    return answers


def holds_of(tx: Tx, epoch: int) -> list[OpenHold]:
    """The open holds of an epoch."""
    return [_open_hold(row) for row in tx.rows(_SQL["holds_of"], epoch=epoch)]


def left_by(tx: Tx, epoch: int, after: str, limit: int) -> list[tuple[str, Watermark | None]]:
    """Requests that an epoch left open, after one of them, with how far each had come when that was last flushed."""
    rows = tx.rows(_SQL["some_holds_of"], epoch=epoch, after=after, limit=limit)
    return [(request_id, None if mark is None else read_record(bytes(mark))[1]) for request_id, mark in rows]


def waive(tx: Tx, recorded: Mapping[str, int], now: int) -> int:
    """Note what a fenced server had recorded for release of requests that others settle; returns the late waived tokens.

    Those that are settled otherwise, and those of which all is billed or waived, are passed over.
    """
    settled = metering.by_requests(tx, list(recorded))
    late = 0
    noted: list[Values] = []
    for request_id, tokens in sorted(recorded.items()):
        usage = settled.get(request_id)
        if usage is not None and usage.status is not Status.FAILED:
            continue
        missed = tokens if usage is None else tokens - usage.tokens.input - usage.tokens.output - usage.waived
        if missed > 0:
            noted.append({"request_id": request_id, "recorded": tokens, "at": now})
            late += missed
    tx.run_many(_SQL["waive"], noted)
    return late


class _Kinds(NamedTuple):
    """The orders of a batch by what they ask."""

    holds: list[ToHold]
    extensions: list[ToExtend]
    settlements: list[ToSettle]
    flushes: list[ToFlush]
    tending: bool

    @property
    def drawing(self) -> list[ToHold | ToExtend]:
        """Those that take value from somewhere."""
        return [*self.holds, *self.extensions]

    @property
    def under_way(self) -> list[ToExtend | ToSettle]:
        """Those whose hold is there already."""
        return [*self.extensions, *self.settlements]


def _by_kind(orders: Sequence[Order]) -> _Kinds:
    return _Kinds(
        holds=[order for order in orders if isinstance(order, ToHold)],
        extensions=[order for order in orders if isinstance(order, ToExtend)],
        settlements=[order for order in orders if isinstance(order, ToSettle)],
        flushes=[order for order in orders if isinstance(order, ToFlush)],
        tending=any(isinstance(order, ToTend) for order in orders),
    )


def _answer(desk: Desk, order: Order, taken: Mapping[str, Exception]) -> object:
    if isinstance(order, ToHold):
        return taken.get(order.request_id) or desk.hold(order)
    if isinstance(order, ToSettle):
        return desk.settle(order)
    if isinstance(order, ToExtend):
        return desk.extend(order)
    if isinstance(order, ToTend):
        _tend(desk, order)
        return desk.ours.living
    return None


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
    grants.forget(tx, [one for one in used_up if desk.sheet.accounts[one.account].unspent == 0])
    _load_budgets(tx, kinds, desk)
    _load_buckets(tx, kinds, desk)


def _load_holds(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    """A request that has no open hold may be settled already."""
    asked = [order.request_id for order in (*kinds.drawing, *kinds.settlements)]
    if not asked:
        return
    for row in tx.rows(_SQL["lock_holds"], ids=asked):
        desk.holds[row[0]] = _open_hold(row)
    desk.settled = metering.by_requests(tx, [request_id for request_id in asked if request_id not in desk.holds])
    for order in kinds.settlements:
        held = desk.holds.get(order.request_id)
        if order.price is None and held is not None and held.price_id not in desk.prices:
            desk.prices[held.price_id] = price_by_id(tx, held.price_id)


def _needs(kinds: _Kinds, desk: Desk) -> dict[tuple[str, str], int]:
    """The most that each purse may be asked for in this batch."""
    needs: dict[tuple[str, str], int] = {}
    for order in kinds.drawing:
        purse = order.payer.tenant_id, order.payer.currency
        input_bound = order.input_bound if isinstance(order, ToHold) else _input_bound(desk, order.request_id)
        needs[purse] = needs.get(purse, 0) + upper_bound(input_bound, order.output_bound, order.price)
    return needs


def _input_bound(desk: Desk, request_id: str) -> int:
    held = desk.holds.get(request_id)
    return 0 if held is None else held.input_bound


def _load_slices(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    tenants = sorted({order.payer.tenant_id for order in kinds.drawing})
    rows = tx.rows(_SQL["slices"], tenants=tenants) if tenants else []
    if kinds.tending:
        rows += tx.rows(_SQL["slices_of"], epochs=sorted({desk.ours.epoch, *desk.ours.taken}))
    for row in rows:
        desk.slices[row[0]] = _slice(*row)


def _slice(
    account: str, epoch: int, tenant_id: str, currency: str, origin: str, priority: int, expires_at: int, used_at: int,
    recalled: int, free: int,
) -> Slice:  # fmt: skip
    return Slice(account, epoch, tenant_id, currency, origin, priority, expires_at, used_at, bool(recalled), free)


def _load_sources(tx: Tx, kinds: _Kinds, desk: Desk) -> list[grants.Live]:
    """Slices of ours come where the account that they are of would; with enough in them, nothing else is looked at.

    Returns grants that were used up when they were looked at, of those who have many: something may come back until they are
    locked.
    """
    needs = _needs(kinds, desk)
    ours: dict[tuple[str, str], list[Slice]] = {purse: [] for purse in needs}
    for one in desk.slices.values():
        if one.epoch == desk.ours.epoch and (one.tenant_id, one.currency) in ours:
            ours[one.tenant_id, one.currency].append(one)
    short = {purse for purse, amount in needs.items() if amount > sum(_usable(one, desk.now) for one in ours[purse])}
    live, used_up = _live(tx, short, needs, desk.now)
    for purse in needs:
        desk.sources[purse] = _in_order(desk, purse, ours[purse], live.get(purse, []), credit=purse in short)
    return used_up


def _usable(one: Slice, now: int) -> int:
    return 0 if one.recalled or one.expires_at <= now else one.free


def _live(
    tx: Tx, purses: Collection[tuple[str, str]], needs: Mapping[tuple[str, str], int], now: int
) -> tuple[dict[tuple[str, str], list[grants.Live]], list[grants.Live]]:
    """The first live grants of each purse, and all of one for which these are not enough; of the latter, those used up."""
    found = _by_purse(grants.live(tx, {tenant for tenant, _ in purses}, now, first=SOURCES_FIRST)) if purses else {}
    more = {
        purse for purse, some in found.items()
        if len(some) == SOURCES_FIRST and sum(one.free for one in some) < needs.get(purse, 0)
    }  # fmt: skip
    if more:
        found |= _by_purse(grants.live(tx, {tenant for tenant, _ in more}, now))
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
    revenue = {
        (names.revenue(order.price.currency, order.price.model, desk.ours.slot), order.price.currency)
        for order in kinds.drawing
    }
    wanted |= {account for account, _ in revenue}
    for order in kinds.under_way:
        for leg in desk.holds[order.request_id].draws if order.request_id in desk.holds else ():
            wanted |= {leg.account, leg.revenue}
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


def _may_slice(desk: Desk, account: str) -> bool:
    return desk.ours.living > 1 and bool(desk.ours.busy) and account not in desk.slices


def _load_budgets(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    now_month = month_of(desk.now).name
    wanted = {(order.payer.key_id, now_month) for order in kinds.holds if order.payer.budget is not None}
    for order in kinds.under_way:
        held = desk.holds.get(order.request_id)
        if held is not None and held.budget_month is not None:
            wanted.add((held.key_id, held.budget_month))
    if wanted:
        found = _locked(tx, wanted, _lock_budgets, _open_budgets)
        desk.budgets = {key: Budget(held, spent) for key, (held, spent) in found.items()}


def _lock_budgets(tx: Tx, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    keys, months = sorted({key for key, _ in wanted}), sorted({month for _, month in wanted})
    return {(row[0], row[1]): (row[2], row[3]) for row in tx.rows(_SQL["lock_budgets"], keys=keys, months=months)}


def _open_budgets(tx: Tx, missing: Sequence[tuple[str, str]]) -> None:
    tx.run_many(_SQL["open_budget"], [{"key_id": key, "month": month} for key, month in missing])


def _load_buckets(tx: Tx, kinds: _Kinds, desk: Desk) -> None:
    """A bucket that is not there yet is full."""
    rates = [one for order in kinds.holds for one in order.rates]
    rates += [order.unused for order in kinds.settlements if order.unused is not None]
    limits = {(one.key_id, one.name): one.limit for one in rates}
    if not limits:
        return
    now_ms = desk.now // NS_PER_MS

    def open_full(tx: Tx, missing: Sequence[tuple[str, str]]) -> None:
        full = [(key, name, Bucket.full(limits[key, name], now_ms)) for key, name in missing]
        tx.run_many(
            _SQL["open_bucket"], [{"key_id": key, "name": name, "level": one.level, "at": one.at} for key, name, one in full]
        )

    for key, (level, at) in _locked(tx, set(limits), _lock_buckets, open_full).items():
        if key in limits:
            desk.buckets[key] = Bucket(limits[key], level, at)


def _lock_buckets(tx: Tx, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    keys = sorted({key for key, _ in wanted})
    return {(row[0], row[1]): (row[2], row[3]) for row in tx.rows(_SQL["lock_buckets"], keys=keys)}


def _locked(
    tx: Tx,
    wanted: Collection[tuple[str, str]],
    lock: Callable[[Tx, Collection[tuple[str, str]]], dict[tuple[str, str], T]],
    make: Callable[[Tx, Sequence[tuple[str, str]]], None],
) -> dict[tuple[str, str], T]:
    """Rows by key; those that nobody made yet are made, by us or by another server at this moment, and locked too."""
    found = lock(tx, wanted)
    missing = sorted(key for key in wanted if key not in found)
    if missing:
        make(tx, missing)
        found = lock(tx, wanted)
    return found


def _save(tx: Tx, desk: Desk) -> None:
    for account in desk.opened:
        ledger.open_account(tx, account.id, account.currency, overdraft=account.overdraft)
    ledger.write(tx, desk.sheet)
    made = [one for one in desk.made.values() if one.request_id not in desk.settled]
    if made:
        tx.insert("open_hold", _HOLD_COLUMNS, [_hold_row(one) for one in made])
    if desk.extended:
        tx.run_many(_SQL["extend_hold"], [_extension(one) for one in desk.extended.values()])
    if desk.resolved:
        tx.run(_SQL["delete_holds"], ids=desk.resolved)
        metering.insert(tx, desk.usage)
    _save_counters(tx, desk)
    _save_slices(tx, desk)


def _save_counters(tx: Tx, desk: Desk) -> None:
    if desk.budgets_changed:
        tx.run_many(_SQL["set_budget"], [
            {"key_id": key, "month": month, "held": desk.budgets[key, month].held, "spent": desk.budgets[key, month].spent}
            for key, month in sorted(desk.budgets_changed)
        ])  # fmt: skip
    if desk.buckets_changed:
        tx.run_many(_SQL["set_bucket"], [
            {"key_id": key, "name": name, "level": desk.buckets[key, name].level, "at": desk.buckets[key, name].at}
            for key, name in sorted(desk.buckets_changed)
        ])  # fmt: skip


def _save_slices(tx: Tx, desk: Desk) -> None:
    changed = [desk.slices[account] for account in sorted(desk.slices_changed - desk.slices_closed)]
    mine = [one for one in changed if one.epoch == desk.ours.epoch]
    if mine:
        tx.run_many(_SQL["set_slice"], [
            {
                "account": one.account, "epoch": one.epoch, "tenant_id": one.tenant_id, "currency": one.currency,
                "origin": one.origin, "priority": one.priority, "expires_at": one.expires_at, "used_at": one.used_at,
                "recalled": int(one.recalled),
            }
            for one in mine
        ])  # fmt: skip
    if len(mine) < len(changed):
        tx.run_many(_SQL["recall"], [{"account": one.account} for one in changed if one.epoch != desk.ours.epoch])
    if desk.slices_closed:
        tx.run(_SQL["delete_slices"], accounts=sorted(desk.slices_closed))
    if desk.revived:
        grants.revive(tx, desk.revived)


def _hold_row(one: OpenHold) -> tuple[str | int | None, ...]:
    return (
        one.request_id, one.tenant_id, one.project_id, one.key_id, one.model, one.price_id, one.input_bound, one.output_bound,
        one.amount, one.currency, one.legs, _render_draws(one.draws).decode(), one.budget_month, one.epoch, one.started_at,
    )  # fmt: skip


def _extension(one: OpenHold) -> dict[str, str | int | bytes | None]:
    return {
        "request_id": one.request_id, "output_bound": one.output_bound, "amount": one.amount, "legs": one.legs,
        "draws": _render_draws(one.draws).decode(),
    }  # fmt: skip


def _open_hold(row: Sequence[Any]) -> OpenHold:
    return OpenHold(
        request_id=row[0], tenant_id=row[1], project_id=row[2], key_id=row[3], model=row[4], price_id=row[5],
        input_bound=row[6], output_bound=row[7], amount=row[8], currency=row[9], draws=_draws_of(row[10]), budget_month=row[11],
        epoch=row[12], started_at=row[13],
    )  # fmt: skip
