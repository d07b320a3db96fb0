"""Faults planted into the fleet, each a mistake that somebody could make: the simulation must find every one of them."""

from collections.abc import Sequence
from typing import Any, cast

import apsw
from msgspec import structs
from tests.scenarios.fleet import INPUT, DatabaseTx, Faults, FleetBooks, Server

from millrace.base.clock import FakeClock
from millrace.generation.chunk import NO_TOKENS, TokenCounts
from millrace.money.billing.books import Books
from millrace.money.billing.hold import Outcome
from millrace.money.billing.orders import Order, ToSettle
from millrace.money.idempotency import store as idempotency
from millrace.money.metering.usage import Status
from millrace.store.named import Queries
from millrace.store.sqlite import SqliteTx
from millrace.store.transaction import Scalar, Value, Values

LEDGER, EPOCHS, BILLING = (Queries(f"millrace.money.{room}") for room in ("ledger", "epochs", "billing"))


class BalancesInMemory(DatabaseTx):
    """Each server keeps the balances that it has seen, and asks nobody again before it admits a request."""

    def __init__(self, connection: apsw.Connection, clock: FakeClock) -> None:
        super().__init__(connection, clock)
        self._seen: dict[str, tuple[Any, ...]] = {}

    def rows(self, sql: str, **values: Value) -> list[tuple]:  # type: ignore[type-arg]
        found = super().rows(sql, **values)
        if sql == LEDGER["lock_accounts"]:
            return [self._seen.setdefault(row[0], row) for row in found]
        return found

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        super().run_many(sql, values)
        if sql == LEDGER["set_account"]:
            for one in values:
                sides = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
                self._seen[str(one["id"])] = (*self._seen[str(one["id"])][:3], *(one[side] for side in sides))


class NeverFenced(DatabaseTx):
    """The renewal of a lease says yes, whoever took the server over."""

    def run(self, sql: str, **values: Value) -> int:
        changed = super().run(sql, **values)
        return 1 if sql == EPOCHS["renew"] else changed


class PostedTwice(DatabaseTx):
    """What a settlement posts is counted twice in the balances."""

    def __init__(self, connection: apsw.Connection, clock: FakeClock) -> None:
        super().__init__(connection, clock)
        self._posted: dict[str, int] = {}

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> None:
        super().insert(table, columns, rows)
        if table == "transfer":
            self._posted = {str(row[2]): int(str(row[4])) for row in rows if row[1] == "post"}

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        if sql == LEDGER["set_account"]:
            values = [
                {**one, "debits_posted": int(str(one["debits_posted"])) + self._posted.get(str(one["id"]), 0)} for one in values
            ]
        super().run_many(sql, values)


class NoLateWaivers(DatabaseTx):
    """A server that was taken over says nothing of what it had released."""

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        if sql != BILLING["waive"]:
            super().run_many(sql, values)


class ClaimsAreForgotten(DatabaseTx):
    """A key may be claimed again although its request was billed."""

    def run(self, sql: str, **values: Value) -> int:
        changed = super().run(sql, **values)
        if sql == BILLING["delete_holds"]:
            idempotency.release(self, list(map(str, cast("list[str]", values["ids"]))))
        return changed


class VoidsTheDead(FleetBooks):
    """Recovery and take-over bill nobody."""

    def outcome(self, ended: Outcome) -> Outcome:
        return Outcome(status=Status.FAILED, counts=NO_TOKENS, counted_by=ended.counted_by)

    async def _ask(self, order: Order) -> Any:
        if isinstance(order, ToSettle) and order.price is None:
            order = structs.replace(order, outcome=self.outcome(order.outcome))
        return await super()._ask(order)


class BillsTheDoubt(VoidsTheDead):
    """Recovery and take-over bill what was recorded, whether it was sent or not."""

    def outcome(self, ended: Outcome) -> Outcome:
        output = ended.counts.output + ended.waived - (0 if ended.counts.input else INPUT)
        if output <= 0:
            return ended
        return Outcome(status=Status.FAILED, counts=TokenCounts(INPUT, 5, output, 0), counted_by=ended.counted_by)


class ReleasesFirst(Faults):
    """A chunk is sent, and then written down."""

    records_before_it_releases = False


class InTheDatabase(Faults):
    """A fault between the books and the tables."""

    def __init__(self, tx: type[DatabaseTx]) -> None:
        self._tx = tx

    def tx(self, connection: apsw.Connection, clock: FakeClock) -> SqliteTx:
        return self._tx(connection, clock)


class InTheBooks(Faults):
    """A fault in what a server asks of its books."""

    def __init__(self, books: type[FleetBooks]) -> None:
        self._books = books

    def books(self, server: Server) -> Books:
        return self._books(server)
