"""The ledger played again from its first transfer, or from a mark: pure, one row after the other in the order of `seq`.

Memory is that of the accounts and of what is pending at a time, whatever the number of transfers. What a transfer may be is
not asked of the code that made it: the rules stand here a second time, in the words of the rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from millrace.money.audit.faults import Faults
from millrace.money.ledger.chain import GENESIS, Chain, Transfer, link

BETWEEN: Final = "transfers are between two accounts of one currency"
RESOLVED: Final = "a hold is resolved once, by no more than it held"
LINKED: Final = "each transfer follows the one before it in its chain"
HEADS: Final = "chains go through the heads that were noted"

LEASE: Final = "lease/"
GRANT: Final = "grant/"
RECEIVABLE: Final = "receivable/"


class Balance(Struct, gc=False):
    """What an account's transfers come to. Of an account that requests draw on, `used` is what they were charged there or in
    the slices that were leased of it, and `expired` what a grant lost at its end.
    """

    currency: str
    tenant_id: str
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    used: int = 0
    expired: int = 0
    changed: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        return (
            self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted, self.used, self.expired
        )


class Waiting(Struct, frozen=True, gc=False):
    """A pending transfer that nothing resolved yet."""

    debit: str
    credit: str
    amount: int


class Settled(Struct, gc=False):
    """A request all of whose pending transfers are resolved: what was posted, and on which accounts."""

    request_id: str
    open_legs: int = 0
    posted: int = 0
    debits: tuple[str, ...] = ()
    credit: str = ""


class Opened(NamedTuple):
    """What is known of an account before it is met: whose it is ('' for nobody's), and where a mark left it."""

    currency: str
    tenant_id: str
    stood: Sequence[int] = (0, 0, 0, 0, 0, 0)


def origin_of(account: str) -> str:
    """The account that a lease is a slice of; any other account is its own."""
    return account.split("/", 2)[2] if account.startswith(LEASE) else account


def request_of(transfer_id: str) -> str:
    """'req_1/2' and 'req_1/2/end' → 'req_1'."""
    return transfer_id.partition("/")[0]


class Replay:
    """Feed it rows in order. `faults` says what was wrong, the rest is where the books stand after the last row."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.balances: dict[str, Balance] = {}
        self.waiting: dict[str, Waiting] = {}
        self.chains: dict[int, Chain] = {}
        self.posted: dict[tuple[str, str], int] = {}
        self.settled: list[Settled] = []
        self.seq = 0
        self._open: dict[str, Settled] = {}
        self._hashed = False
        self._watched: dict[tuple[int, int], bytes] = {}
        for name in (BETWEEN, RESOLVED, LINKED):
            faults.looked(name, 0)

    def unknown(self, rows: Iterable[Sequence[Any]]) -> set[str]:
        """The accounts of these rows that were not met before: `open` each of them first."""
        named = {name for row in rows for name in (row[3], row[4])}
        return {one for name in named for one in (name, origin_of(name)) if one not in self.balances}

    def open(self, account: str, opened: Opened | None) -> None:
        """Meet an account; None where there is no such account, which is a fault."""
        if opened is None:
            self.faults.found(BETWEEN, f"there are transfers of account {account}, which is not there")
        currency, tenant_id, stood = opened or Opened("", "")
        pending, posted, credits_pending, credits_posted, used, expired = stood
        self.balances[account] = Balance(
            currency, tenant_id, pending, posted, credits_pending, credits_posted, used, expired
        )

    def resume(self, transfer_id: str, waiting: Waiting) -> None:
        """Take over what was pending at the mark where the replay begins."""
        self.waiting[transfer_id] = waiting
        self._settling(transfer_id).open_legs += 1

    def resume_at(self, seq: int, chains: Iterable[Chain]) -> None:
        """Go on after that row, from the ends that the chains had there."""
        self.seq = seq
        self.chains = {chain.number: chain for chain in chains}
        self._hashed = bool(self.chains)

    def watch(self, heads: Iterable[Chain]) -> None:
        """Chains that ended so at some time, by what somebody noted elsewhere."""
        for chain in heads:
            if self._watched.setdefault((chain.number, chain.length), chain.head) != chain.head:
                self.faults.found(HEADS, f"two heads were noted for chain {chain.number} of {chain.length} transfers")
        self.faults.looked(HEADS, len(self._watched))

    def missed(self) -> None:
        """After the last row: what was noted and not met is a tail that was cut off."""
        for number, length in sorted(self._watched):
            found = self.chains[number].length if number in self.chains else 0
            self.faults.found(HEADS, f"chain {number} had {length} transfers when its head was noted, and has {found}")

    def feed(self, rows: Sequence[Sequence[Any]]) -> None:
        """Rows: seq, id, kind, debit, credit, amount, pending id, at, chain, hash."""
        resolutions = linked = 0
        for seq, id_, kind, debit, credit, amount, pending_id, at, chain, digest in rows:
            self.seq = seq
            if digest is not None:
                linked += 1
                self._link(id_, Transfer(id_, kind, debit, credit, amount, pending_id, at), chain, digest)
            elif self._hashed:
                self.faults.found(LINKED, f"transfer {id_} has no hash, and one before it has")
            giver, taker = self.balances[debit], self.balances[credit]
            if giver.currency != taker.currency or debit == credit or amount < 0:
                self._wrong(id_, debit, credit, amount, giver, taker)
            giver.changed = taker.changed = True
            if kind == "single":
                self._single(id_, debit, amount, pending_id)
                giver.debits_posted += amount
                taker.credits_posted += amount
            elif kind == "pending":
                self._pending(id_, Waiting(debit, credit, amount), pending_id)
                giver.debits_pending += amount
                taker.credits_pending += amount
            else:
                resolutions += 1
                self._resolve(id_, kind, debit, credit, amount, pending_id)
                giver.debits_posted += amount
                taker.credits_posted += amount
        self.faults.looked(BETWEEN, len(rows))
        self.faults.looked(RESOLVED, resolutions)
        self.faults.looked(LINKED, linked)

    def drain(self) -> list[Settled]:
        """The requests that were settled since the last call."""
        settled, self.settled = self.settled, []
        return settled

    def _link(self, id_: str, row: Transfer, number: int, digest: bytes) -> None:
        chain = self.chains.get(number)
        if chain is None:
            chain = self.chains[number] = Chain(number, 0, GENESIS)
        if link(chain.head, row) != digest:
            self.faults.found(
                LINKED,
                f"transfer {id_}, number {chain.length + 1} of chain {number}, does not have the hash that follows from the "
                "one before it: it was changed, or a transfer before it was taken away, put in or moved",
            )
        chain.head = digest
        chain.length += 1
        self._hashed = True
        if self._watched and self._watched.pop((number, chain.length), digest) != digest:
            self.faults.found(
                HEADS,
                f"chain {number} had another head when it had {chain.length} transfers: it was made anew from there or before",
            )

    def _wrong(self, id_: str, debit: str, credit: str, amount: int, giver: Balance, taker: Balance) -> None:
        if amount < 0:
            self.faults.found(BETWEEN, f"transfer {id_} has a negative amount")
        elif giver.currency and taker.currency:
            self.faults.found(
                BETWEEN, f"transfer {id_} is between {debit} and {credit}, which are of two currencies or one account"
            )

    def _single(self, id_: str, debit: str, amount: int, pending_id: str | None) -> None:
        if pending_id is not None:
            self.faults.found(RESOLVED, f"transfer {id_} is a single and cannot resolve {pending_id}")
        if debit.startswith(GRANT) and id_.startswith(f"{debit.removeprefix(GRANT)}/expired/"):
            self.balances[debit].expired += amount

    def _pending(self, id_: str, waiting: Waiting, pending_id: str | None) -> None:
        if pending_id is not None:
            self.faults.found(RESOLVED, f"transfer {id_} is a pending and cannot resolve {pending_id}")
        self.waiting[id_] = waiting
        self._settling(id_).open_legs += 1

    def _resolve(self, id_: str, kind: str, debit: str, credit: str, amount: int, pending_id: str | None) -> None:
        waiting = None if pending_id is None else self.waiting.pop(pending_id, None)
        if waiting is None or pending_id is None:
            self._resolves_nothing(id_, kind, pending_id)
            return
        if kind == "void" and amount:
            self.faults.found(RESOLVED, f"transfer {id_} is a void of {amount}, not of 0")
        if amount > waiting.amount:
            self.faults.found(RESOLVED, f"transfer {id_} posts {amount}, more than the {waiting.amount} that were pending")
        if (debit, credit) != (waiting.debit, waiting.credit):
            self.faults.found(RESOLVED, f"transfer {id_} is between other accounts than {pending_id}, which it resolves")
        self.balances[waiting.debit].debits_pending -= waiting.amount
        self.balances[waiting.credit].credits_pending -= waiting.amount
        self.balances[waiting.debit].changed = self.balances[waiting.credit].changed = True
        if kind == "post":
            self._post(debit, amount)
        self._end(pending_id, kind, debit, credit, amount)

    def _resolves_nothing(self, id_: str, kind: str, pending_id: str | None) -> None:
        if pending_id is None:
            self.faults.found(RESOLVED, f"transfer {id_} is a {kind} and resolves nothing")
        else:
            self.faults.found(
                RESOLVED, f"transfer {id_} resolves {pending_id}, which is no pending transfer or was resolved before it"
            )

    def _post(self, debit: str, amount: int) -> None:
        """Whose credit it came from: a tenant's sum, and of the grant that it was taken from, by way of a lease or not."""
        giver = self.balances[debit]
        key = giver.tenant_id, giver.currency
        self.posted[key] = self.posted.get(key, 0) + amount
        origin = self.balances[origin_of(debit)]
        origin.used += amount
        origin.changed = True

    def _settling(self, transfer_id: str) -> Settled:
        request_id = request_of(transfer_id)
        settling = self._open.get(request_id)
        if settling is None:
            settling = self._open[request_id] = Settled(request_id)
        return settling

    def _end(self, pending_id: str, kind: str, debit: str, credit: str, amount: int) -> None:
        settling = self._settling(pending_id)
        settling.open_legs -= 1
        if kind == "post":
            settling.posted += amount
            settling.debits = (*settling.debits, debit)
            settling.credit = credit
        if settling.open_legs == 0:
            del self._open[settling.request_id]
            self.settled.append(settling)
