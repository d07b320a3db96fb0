"""The rules of the books on a working set, pure: orders in, one answer each, in their order; a refused one changes nothing.

Theory of operation. All orders that wait together are served in one transaction: store.py loads what they touch and locks it,
this applies them in memory one after the other, and store.py writes what changed in bulk. So the rules are here and nowhere
else, and the database's constraints hold them once more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from millrace.base.bucket import MINUTE_MS, NS_PER_MS, Bucket
from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import month_of
from millrace.money.allowances.allowance import Budget, Rate, refuse_budget, refuse_rate
from millrace.money.billing.hold import Leg, OpenHold, Outcome, Payer, clip, leg_id, plan
from millrace.money.billing.orders import Recalling, ToExtend, ToHold, ToSettle
from millrace.money.grants.store import Source
from millrace.money.ledger import names
from millrace.money.ledger.entries import Account, Answer, Entry, Kind, Refused
from millrace.money.ledger.sheet import Pending, Sheet
from millrace.money.metering.usage import Usage
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import rate, upper_bound
from millrace.money.slices.slice import Rank, Slice, slice_of

Purse = tuple[str, str]
"""Whose value in which currency: tenant, currency."""


class Ours(NamedTuple):
    """Who serves: its epoch, its slot, the epochs that it took over, the servers alive, and the tenants that are busy here."""

    epoch: int
    slot: int
    taken: frozenset[int] = frozenset()
    living: int = 1
    busy: frozenset[str] = frozenset()


class Desk:
    """The working set of one transaction. What is public is what store.py loads before and writes after."""

    def __init__(self, ours: Ours, now: int, sheet: Sheet) -> None:
        self.ours = ours
        self.now = now
        self.sheet = sheet
        self.holds: dict[str, OpenHold] = {}
        self.settled: dict[str, Usage] = {}
        self.prices: dict[str, PriceVersion] = {}
        self.sources: dict[Purse, list[str]] = {}
        """The accounts that a hold of the purse draws on, in that order."""
        self.cut: set[Purse] = set()
        """Those that may have more grants than were looked at, since the first few seemed to be enough."""
        self.ranks: dict[str, Rank] = {}
        """Of these accounts, slices excepted: what their order comes from."""
        self.budgets: dict[tuple[str, str], Budget] = {}
        self.buckets: dict[tuple[str, str], Bucket] = {}
        self.slices: dict[str, Slice] = {}
        """Leases of the purses in question, everybody's, by account."""
        self.made: dict[str, OpenHold] = {}
        self.extended: dict[str, OpenHold] = {}
        self.resolved: list[str] = []
        self.usage: list[Usage] = []
        self.opened: list[Account] = []
        self.budgets_changed: set[tuple[str, str]] = set()
        self.buckets_changed: set[tuple[str, str]] = set()
        self.slices_changed: set[str] = set()
        self.slices_closed: set[str] = set()
        self.revived: set[str] = set()

    def hold(self, order: ToHold) -> OpenHold | Exception:
        earlier = self.holds.get(order.request_id)
        if earlier is not None:
            return earlier if _content(earlier) == _wanted(order) else _other_content(order.request_id)
        if order.request_id in self.settled:
            return Refusal(Reason.CONFLICT, f"request {order.request_id} is settled already")
        payer, price = order.payer, order.price
        amount = upper_bound(order.input_bound, order.output_bound, price)
        month = None if payer.budget is None else month_of(self.now).name
        too_fast = self._too_fast(order.rates)
        if too_fast is not None:
            return too_fast
        over_budget = self._over_budget(payer, month, amount)
        legs, missing = self._legs(payer, order.model, amount, only_looking=over_budget is not None)
        refusal = missing or over_budget
        if refusal is not None:
            return refusal
        # From here on the hold must succeed.
        for wanted in order.rates:
            self._bucket(wanted).take(wanted.units)
            self.buckets_changed.add((wanted.key_id, wanted.name))
        self._take_budget(payer, month, amount)
        self._pend(order.request_id, legs, first=1)
        made = OpenHold(
            request_id=order.request_id, tenant_id=payer.tenant_id, project_id=payer.project_id, key_id=payer.key_id,
            model=order.model, price_id=price.id, input_bound=order.input_bound, output_bound=order.output_bound, amount=amount,
            currency=payer.currency, draws=tuple(legs), budget_month=month, epoch=self.ours.epoch, started_at=self.now,
        )  # fmt: skip
        self.holds[order.request_id] = self.made[order.request_id] = made
        return made

    def extend(self, order: ToExtend) -> OpenHold | Exception:
        before = self.holds.get(order.request_id)
        if before is None:
            return Refusal(Reason.CONFLICT, f"request {order.request_id} is settled already")
        _same_price(before, order.price)
        stranger = self._not_ours(before)
        if stranger is not None:
            return stranger
        if order.output_bound <= before.output_bound:
            return before
        amount = max(before.amount, upper_bound(before.input_bound, order.output_bound, order.price))
        more = amount - before.amount
        over_budget = self._over_budget(order.payer, before.budget_month, more)
        legs, missing = self._legs(order.payer, order.model, more, only_looking=over_budget is not None)
        refusal = missing or over_budget
        if refusal is not None:
            return refusal
        # From here on the extension must succeed.
        self._take_budget(order.payer, before.budget_month, more)
        self._pend(order.request_id, legs, first=before.legs + 1)
        after = _replace(before, order.output_bound, amount, (*before.draws, *legs))
        self.holds[order.request_id] = after
        (self.made if order.request_id in self.made else self.extended)[order.request_id] = after
        return after

    def settle(self, order: ToSettle) -> Usage | Exception:
        open_hold = self.holds.get(order.request_id)
        if open_hold is None:
            return self.settled.get(order.request_id) or LookupError(
                f"request {order.request_id} has neither a hold nor usage"
            )
        stranger = self._not_ours(open_hold)
        if stranger is not None:
            return stranger
        price = order.price or self.prices[open_hold.price_id]
        _same_price(open_hold, price)
        usage = _usage(open_hold, order.outcome, price, self.now)
        # From here on the settlement must succeed.
        self._post(open_hold, usage.amount)
        if open_hold.budget_month is not None:
            budget = self._budget(open_hold.key_id, open_hold.budget_month)
            budget.held -= open_hold.amount
            budget.spent += usage.amount
        if order.unused is not None:
            self._bucket(order.unused).give_back(order.unused.units)
            self.buckets_changed.add((order.unused.key_id, order.unused.name))
        del self.holds[order.request_id]
        self.settled[order.request_id] = usage
        self.resolved.append(order.request_id)
        self.usage.append(usage)
        return usage

    def give_back(self, wanted: Callable[[Slice], bool]) -> None:
        """Return what is free of these slices to where it came from; a slice that nothing is held of any more is over."""
        for one in [one for one in self.slices.values() if wanted(one)]:
            standing = self.sheet.accounts[one.account]
            if standing.free > 0:
                entry_id = f"{one.account}/out/{standing.debits_posted}"
                self._move(Entry(
                    id=entry_id, kind="single", debit=one.account, credit=one.origin, amount=standing.free, at=self.now
                ))  # fmt: skip
                self.revived.add(one.origin)
            if standing.debits_pending == 0:
                self.slices_closed.add(one.account)
                del self.slices[one.account]
            elif not one.recalled:
                one.recalled = True
                self.slices_changed.add(one.account)

    def _legs(
        self, payer: Payer, model: str, amount: int, *, only_looking: bool
    ) -> tuple[list[Leg], Exception | None]:
        """Where the amount is taken from, or why it is not there. `only_looking`: no slice is taken or asked for."""
        if amount == 0:
            return [], None
        purse = payer.tenant_id, payer.currency
        if not only_looking:
            self._take_slice(purse, amount)
        revenue = names.revenue(payer.currency, model, self.ours.slot)
        legs, missing = plan(self._free(purse), revenue, amount)
        if missing and missing > self._elsewhere(purse):
            return [], Recalling() if purse in self.cut else _insufficient(payer, amount, missing)
        if only_looking:
            return [], None
        if missing:
            self._recall(purse)
            return [], Recalling()
        for leg in legs:
            if leg.account in self.slices:
                self._used(self.slices[leg.account])
        return legs, None

    def _free(self, purse: Purse) -> Iterator[Source]:
        """A slice that was asked back is drawn on no more; one that ran out holds nobody up."""
        for account in self.sources[purse]:
            one = self.slices.get(account)
            free = self.sheet.accounts[account].free
            if free > 0 and (one is None or not (one.recalled or one.expires_at <= self.now)):
                yield Source(account, free)

    def _take_slice(self, purse: Purse, amount: int) -> None:
        """A busy tenant's hold draws on a slice that is ours alone, so that servers do not wait for each other's row."""
        if self.ours.living < 2 or purse[0] not in self.ours.busy:
            return
        accounts = self.sources[purse]
        ready = [account for account in accounts if self.sheet.accounts[account].free > 0]
        if not ready or ready[0] in self.slices:
            return
        origin, at = ready[0], accounts.index(ready[0])
        size = slice_of(self.sheet.accounts[origin].free, amount, self.ours.living)
        account = names.lease(self.ours.epoch, origin)
        like = self.slices.get(account)
        if size == 0 or (like is not None and like.recalled):
            return
        if account not in self.sheet.accounts:
            new = Account(account, purse[1], 0, 0, 0, 0, 0)
            self.sheet.add(new)
            self.opened.append(new)
        entry_id = f"{account}/in/{self.sheet.accounts[account].credits_posted}"
        self._move(Entry(id=entry_id, kind="single", debit=origin, credit=account, amount=size, at=self.now))
        if like is None:
            self.slices[account] = Slice(account, self.ours.epoch, *purse, origin, *self.ranks[origin], used_at=self.now)
        self.slices_changed.add(account)
        if account in accounts:
            accounts.remove(account)
        accounts.insert(at, account)

    def _used(self, one: Slice) -> None:
        if self.now - one.used_at >= USED_EVERY_NS:
            one.used_at = self.now
            self.slices_changed.add(one.account)

    def _elsewhere(self, purse: Purse) -> int:
        """What is free in slices that will be given back soon, as they stood when they were read: others', and ours that are
        asked back.
        """
        ours = (self.slices[account] for account in self.sources[purse] if account in self.slices)
        back = [*self._others(purse), *(one for one in ours if one.recalled)]
        return sum(one.free for one in back if one.expires_at > self.now)

    def _recall(self, purse: Purse) -> None:
        for one in self._others(purse):
            if not one.recalled:
                one.recalled = True
                self.slices_changed.add(one.account)

    def _others(self, purse: Purse) -> list[Slice]:
        return [
            one for one in self.slices.values()
            if (one.tenant_id, one.currency) == purse and one.epoch != self.ours.epoch
        ]  # fmt: skip

    def _pend(self, request_id: str, legs: Sequence[Leg], *, first: int) -> None:
        for number, (account, revenue, amount) in enumerate(legs, first):
            self._move(Entry(
                id=leg_id(request_id, number), kind="pending", debit=account, credit=revenue, amount=amount, at=self.now
            ))  # fmt: skip

    def _post(self, open_hold: OpenHold, amount: int) -> None:
        """Post the amount over the legs in the order they were held; void what is left of them."""
        left = amount
        for number, (account, revenue, held) in enumerate(open_hold.draws, 1):
            pending_id = leg_id(open_hold.request_id, number)
            part = min(left, held)
            left -= part
            kind: Kind = "post" if part else "void"
            self.sheet.pending[pending_id] = Pending(account, revenue, held)
            self._move(Entry(id=f"{pending_id}/end", kind=kind, amount=part, pending_id=pending_id, at=self.now))
        if left:
            raise AssertionError(f"the legs of {open_hold.request_id} add up to less than its hold of {open_hold.amount}")

    def _move(self, entry: Entry) -> None:
        answer = self.sheet.apply(entry)
        if answer is not Answer.OK:
            raise Refused(entry, answer)

    def _too_fast(self, rates: Iterable[Rate]) -> Refusal | None:
        for wanted in rates:
            bucket = self._bucket(wanted)
            bucket.refill(self.now // NS_PER_MS)
            refusal = refuse_rate(bucket, wanted)
            if refusal is not None:
                return refusal
        return None

    def _bucket(self, wanted: Rate) -> Bucket:
        """A limit that was changed since keeps the share that was left of it."""
        key = wanted.key_id, wanted.name
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = Bucket.full(wanted.limit, self.now // NS_PER_MS)
        elif bucket.limit != wanted.limit:
            bucket.limit = wanted.limit
            bucket.level = min(bucket.level, wanted.limit * MINUTE_MS)
        return bucket

    def _budget(self, key_id: str, month: str) -> Budget:
        self.budgets_changed.add((key_id, month))
        return self.budgets.setdefault((key_id, month), Budget())

    def _over_budget(self, payer: Payer, month: str | None, amount: int) -> Refusal | None:
        if month is None:
            return None
        assert payer.budget is not None, "a key that had a budget when it was held for has it until it is settled"
        budget = self.budgets.get((payer.key_id, month), Budget())
        return refuse_budget(budget, payer.budget, amount, payer.currency, month, self.now)

    def _take_budget(self, payer: Payer, month: str | None, amount: int) -> None:
        if month is not None:
            self._budget(payer.key_id, month).held += amount

    def _not_ours(self, open_hold: OpenHold) -> Refusal | None:
        if open_hold.epoch == self.ours.epoch or open_hold.epoch in self.ours.taken:
            return None
        return Refusal(
            Reason.STORE_UNAVAILABLE,
            f"request {open_hold.request_id} is settled by the server that took over epoch {open_hold.epoch}",
            retry_after_s=1,
        )


USED_EVERY_NS: Final = NS_PER_S // 4
"""How exactly it is noted when a slice was last drawn on."""

def _usage(open_hold: OpenHold, outcome: Outcome, price: PriceVersion, now: int) -> Usage:
    counts, cut = clip(outcome.counts, open_hold.input_bound, open_hold.output_bound)
    charge = rate(counts, price)
    if charge.amount > open_hold.amount:
        raise AssertionError(
            f"request {open_hold.request_id} comes to more than its upper bound: {charge} > {open_hold.amount}"
        )
    return Usage(
        request_id=open_hold.request_id, tenant_id=open_hold.tenant_id, project_id=open_hold.project_id,
        key_id=open_hold.key_id, model=open_hold.model, status=outcome.status, counted_by=outcome.counted_by, tokens=counts,
        waived=outcome.waived + cut, price_id=charge.price_id, tier=charge.tier, amount=charge.amount,
        currency=open_hold.currency, epoch=open_hold.epoch, started_at=open_hold.started_at,
        finished_at=max(now, open_hold.started_at),
    )  # fmt: skip


def _replace(before: OpenHold, output_bound: int, amount: int, draws: tuple[Leg, ...]) -> OpenHold:
    return OpenHold(
        request_id=before.request_id, tenant_id=before.tenant_id, project_id=before.project_id, key_id=before.key_id,
        model=before.model, price_id=before.price_id, input_bound=before.input_bound, output_bound=output_bound, amount=amount,
        currency=before.currency, draws=draws, budget_month=before.budget_month, epoch=before.epoch,
        started_at=before.started_at,
    )  # fmt: skip


def _content(hold: OpenHold) -> tuple[str, str, str, str, str, str, int]:
    """It may have been extended since, so the output is not compared."""
    return hold.tenant_id, hold.project_id, hold.key_id, hold.currency, hold.model, hold.price_id, hold.input_bound


def _wanted(order: ToHold) -> tuple[str, str, str, str, str, str, int]:
    payer = order.payer
    return (
        payer.tenant_id, payer.project_id, payer.key_id, payer.currency, order.model, order.price.id, order.input_bound,
    )  # fmt: skip


def _other_content(request_id: str) -> Refusal:
    return Refusal(Reason.IDEMPOTENCY_CONFLICT, f"request {request_id} has a hold with other content")


def _same_price(hold: OpenHold, price: PriceVersion) -> None:
    if price.id != hold.price_id:
        raise AssertionError(f"request {hold.request_id} was held at {hold.price_id} and cannot be rated at {price.id}")


def _insufficient(payer: Payer, amount: int, missing: int) -> Refusal:
    return Refusal(
        Reason.INSUFFICIENT_CREDIT,
        f"this request can cost up to {render_amount(amount)} {payer.currency}, and {render_amount(missing)} of that is "
        "missing in the balance; add credit, or ask for fewer tokens (max_tokens)",
    )
