"""What stands now, beside what the transfers and the usage rows come to. All of it in one snapshot, which is that of both."""

from collections import defaultdict
from typing import Final

import msgspec

from millrace.money.audit import store
from millrace.money.audit.consumption import Consumption, Spent
from millrace.money.audit.faults import Faults
from millrace.money.audit.replay import GRANT, LEASE, Replay, origin_of, request_of
from millrace.money.audit.store import NOTHING, Given, Held, Numbers
from millrace.money.ledger.entries import Account
from millrace.store.transaction import Tx

BALANCED: Final = "debits equal credits"
REBUILT: Final = "accounts are what their transfers come to"
OVERDRAWN: Final = "no account is overdrawn"
HELD: Final = "open holds are their pending transfers"
PENDING: Final = "what is pending is what open holds reserve"
EPOCHS: Final = "holds and usage are of known epochs"
TENANTS: Final = "each tenant posted what it was charged"
GRANTS: Final = "grants are used, expired, left or held"
BUDGETS: Final = "budgets are what their requests come to"
MADE: Final = "what was billed is within what engines made"
CHAINS: Final = "chains end where their transfers do"

_SIDES: Final = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
_COLUMNS: Final = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")

_ASKED: Final = (
    ("grants with something left are live", "grants", ("grant_forgotten",)),
    ("grants were booked when they were given", "grants", ("grant_without_transfer",)),
    ("no budget is exceeded", "budgets", ("budget_exceeded",)),
    ("leases are slices of the account that they name", "leases", ("lease_misnamed", "lease_forgotten")),
    ("leases of ended epochs are empty", "leases", ("lease_of_the_ended",)),
    ("an ended epoch has no open hold", "epochs", ("hold_of_the_ended",)),
    ("epochs are taken over by others that were there", "epochs", ("taken_by_a_stranger",)),
    ("late waivers belong to usage", "waivers", ("waiver_of_nothing",)),
    ("no bucket is above its limit", "buckets", ("bucket_too_full",)),
    ("a request answers one idempotency key", "idempotency", ("answered_twice",)),
    ("idempotency keys take the space that is counted", "spaces", ("space_differs",)),
)
"""Checks that are a question each to small tables: name, what is counted, the questions."""


def check_all(tx: Tx, replay: Replay, consumption: Consumption, mark: int) -> None:
    """Every check on what stands now; disagreements go to the faults of both. `mark`: where they began, 0 for the start."""
    faults = replay.faults
    pending, leased = _accounts(tx, replay, mark)
    _holds(tx, replay, pending)
    _chains(tx, replay)
    _epochs(tx, consumption)
    _made(tx, consumption)
    _tenants(replay, consumption)
    _grants(tx, replay, leased, mark)
    _budgets(tx, consumption, mark)
    for name, what, questions in _ASKED:
        faults.looked(name, store.count(tx, what))
        _found(faults, name, store.first(tx, *questions))


def _found(faults: Faults, name: str, detail: str | None) -> None:
    if detail is not None:
        faults.found(name, detail)


def _accounts(tx: Tx, replay: Replay, mark: int) -> tuple[dict[str, int], dict[str, int]]:
    """Returns what is pending in accounts by currency, and what leases have left by the account that they are slices of."""
    faults = replay.faults
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    leased: dict[str, int] = defaultdict(int)
    count = 0
    for page in store.accounts(tx):
        count += len(page)
        stood = _stood(tx, replay, [account.id for account in page], mark)
        for account in page:
            total = totals[account.currency]
            for place, side in enumerate(_SIDES):
                total[place] += getattr(account, side)
            _rebuilt(faults, account, stood[account.id])
            _overdrawn(faults, account)
            if account.id.startswith(LEASE) and account.credits_posted != account.debits_posted:
                leased[origin_of(account.id)] += account.credits_posted - account.debits_posted
    for name in (REBUILT, OVERDRAWN):
        faults.looked(name, count)
    faults.looked(BALANCED, len(totals))
    for currency, (debits, posted, debits_pending, pending) in sorted(totals.items()):
        if debits != posted or debits_pending != pending:
            faults.found(
                BALANCED,
                f"{currency}: debits and credits are {debits} and {posted} posted, {debits_pending} and {pending} pending",
            )
    return {currency: total[2] for currency, total in totals.items() if total[2]}, leased


def _stood(tx: Tx, replay: Replay, accounts: list[str], mark: int) -> dict[str, Numbers]:
    """What their transfers come to, all of them: by the replay, or by the mark where none came since."""
    untouched = store.balances_of(tx, [name for name in accounts if name not in replay.balances], mark)
    return {
        name: replay.balances[name].numbers if name in replay.balances else untouched.get(name, NOTHING) for name in accounts
    }


def _rebuilt(faults: Faults, account: Account, stood: Numbers) -> None:
    said = (account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted)
    if said == stood[:4]:
        return
    side, one, found = next(
        (side, one, found) for side, one, found in zip(_COLUMNS, said, stood, strict=False) if one != found
    )
    faults.found(
        REBUILT,
        f"account {account.id} has columns that its transfers do not come to: {side} is {one}, the transfers come to {found}",
    )


def _overdrawn(faults: Faults, account: Account) -> None:
    if account.overdraft is not None and account.available < 0:
        faults.found(
            OVERDRAWN,
            f"account {account.id} is overdrawn: it may go {account.overdraft} nano-units below zero and is at "
            f"{account.available - account.overdraft}",
        )


def _holds(tx: Tx, replay: Replay, in_accounts: dict[str, int]) -> None:
    """Also three independent ways to the same sum: accounts, transfers, open holds."""
    faults = replay.faults
    legs: dict[str, list[str]] = defaultdict(list)
    in_transfers: dict[str, int] = defaultdict(int)
    for transfer_id, waiting in replay.waiting.items():
        legs[request_of(transfer_id)].append(transfer_id)
        in_transfers[replay.balances[waiting.debit].currency] += waiting.amount
    in_holds: dict[str, int] = defaultdict(int)
    count = 0
    for hold in store.holds(tx):
        count += 1
        in_holds[hold.currency] += hold.amount
        _found(faults, HELD, _legs_differ(hold, replay, legs.pop(hold.request_id, [])))
    for ids in legs.values():
        faults.found(HELD, f"transfer {ids[0]} is pending, and there is no open hold for it")
    faults.looked(HELD, count)
    transfers, holds = ({name: amount for name, amount in sums.items() if amount} for sums in (in_transfers, in_holds))
    faults.looked(PENDING, len(in_accounts | transfers | holds))
    if not in_accounts == transfers == holds:
        faults.found(PENDING, f"pending are {in_accounts} in accounts, {transfers} in transfers, {holds} in open holds")


def _legs_differ(hold: Held, replay: Replay, ids: list[str]) -> str | None:
    """A hold, its pending transfers and the draws that it says it made are three accounts of the same thing."""
    made = [replay.waiting[id_] for id_ in sorted(ids, key=lambda id_: (len(id_), id_))]
    found = sum(one.amount for one in made)
    if len(made) != hold.legs or found != hold.amount:
        return (
            f"hold {hold.request_id} of {hold.amount} in {hold.legs} parts has pending transfers of {found} in {len(made)}"
        )
    if msgspec.json.decode(hold.draws) != [[one.debit, one.credit, one.amount] for one in made]:
        return f"hold {hold.request_id} says that it drew {hold.draws}, and its pending transfers are on {made}"
    return None


def _chains(tx: Tx, replay: Replay) -> None:
    faults = replay.faults
    said = {chain.number: chain for chain in store.chains(tx)}
    faults.looked(CHAINS, len(said))
    for number in sorted(said.keys() | replay.chains.keys()):
        one, found = said.get(number), replay.chains.get(number)
        if one is None:
            faults.found(CHAINS, f"there are transfers of chain {number}, which is not there")
        elif one.length != (length := found.length if found else 0):
            faults.found(CHAINS, f"chain {number} has {one.length} transfers by its own word and {length} are there")
        elif found is not None and one.head != found.head:
            faults.found(
                CHAINS, f"chain {number} ends in {one.head.hex()} by its own word, its last transfer in {found.head.hex()}"
            )


def _epochs(tx: Tx, consumption: Consumption) -> None:
    faults = consumption.faults
    faults.looked(EPOCHS, store.count(tx, "holds") + len(consumption.epochs))
    _found(faults, EPOCHS, store.first(tx, "hold_of_no_epoch"))
    known = store.epochs(tx)
    for number, request_id in consumption.epochs.items():
        if number not in known:
            faults.found(EPOCHS, f"request {request_id} was held by epoch {number}, which never was")


def _made(tx: Tx, consumption: Consumption) -> None:
    """Of a server that ended in good order: engines made whatever was billed. A count that was never made is not missed."""
    faults = consumption.faults
    rows = store.made_by_epoch(tx)
    faults.looked(MADE, len(rows))
    for epoch, model, _, *made in rows:
        _, *used = consumption.by_epoch.get((epoch, model), (0, 0, 0))
        for kind, one, other in zip(("input", "output"), used, made, strict=True):
            if one > other:
                faults.found(MADE, f"of epoch {epoch} {one} {kind} tokens of {model} were billed, its engines made {other}")


def _tenants(replay: Replay, consumption: Consumption) -> None:
    faults = replay.faults
    keys = sorted(consumption.charged.keys() | replay.posted.keys())
    faults.looked(TENANTS, len(keys))
    for tenant_id, currency in keys:
        charged, posted = consumption.charged[tenant_id, currency], replay.posted.get((tenant_id, currency), 0)
        if charged != posted:
            faults.found(TENANTS, f"tenant {tenant_id} was charged {charged} nano-units of {currency} and posted {posted}")


def _grants(tx: Tx, replay: Replay, leased: dict[str, int], mark: int) -> None:
    """used + expired + left = granted, where what is left lies in the grant's account and in the slices of it."""
    faults = replay.faults
    count = 0
    for page in store.grants(tx):
        count += len(page)
        stood = _stood(tx, replay, [GRANT + grant.id for grant in page], mark)
        for grant in page:
            account = GRANT + grant.id
            _found(faults, GRANTS, _grant_differs(grant, stood[account], leased.get(account, 0)))
    faults.looked(GRANTS, count)


def _grant_differs(grant: Given, stood: Numbers, leased: int) -> str | None:
    used, expired = stood[4:]
    left = (grant.left or 0) + leased
    if grant.left is not None and grant.account_currency == grant.currency and used + expired + left == grant.amount:
        return None
    return (
        f"grant {grant.id} of {grant.amount}: used {used}, expired {expired}, left {left - (grant.held or 0)}, "
        f"held {grant.held or 0}"
    )


def _budgets(tx: Tx, consumption: Consumption, mark: int) -> None:
    """A request counts in the month in which it was held for, whenever it ends."""
    faults = consumption.faults
    held: dict[Spent, int] = defaultdict(int)
    for key_id, month, amount in store.budget_holds(tx):
        held[Spent(key_id, month)] += amount
    there: set[Spent] = set()
    for page in store.budgets(tx):
        faults.looked(BUDGETS, len(page))
        before = store.balances_of(tx, [Spent(key_id, month).name for key_id, month, _, _ in page], mark)
        for key_id, month, held_said, spent_said in page:
            key = Spent(key_id, month)
            there.add(key)
            spent = before.get(key.name, NOTHING)[4] + consumption.spent[key]
            if spent != spent_said or held[key] != held_said:
                faults.found(
                    BUDGETS,
                    f"key {key_id} in {month}: the budget says spent {spent_said} and held {held_said}, the requests come to "
                    f"{spent} and {held[key]}",
                )
    faults.looked(BUDGETS, 0)
    for key, amount in consumption.spent.items():
        if amount and key not in there:
            faults.found(BUDGETS, f"requests of key {key.key_id} in {key.month} count in no budget")
