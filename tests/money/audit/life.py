"""A life of the house in a database of either make: grants, requests that come and go, and what is open in between."""

from collections.abc import Callable

from tests.money.house import NOVEMBER_23, begin_epoch, move_in, outcome, payer, price_of, request

from millrace.base.money import NANO
from millrace.money.billing.desk import Ours
from millrace.money.billing.orders import Order, ToHold, ToSettle
from millrace.money.billing.serving import serve
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.store.database import Database
from millrace.store.transaction import Tx

CALLERS = (("acme", True), ("bolt", False), ("acme", False), ("mole", False))


class Life:
    """`pass_by` lets so many requests come; the last of each passage stays open until the next one."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.now = NOVEMBER_23
        self._number = 0
        self._open: list[int] = []
        db.write_now(move_in)
        self._ours = Ours(*db.write_now(lambda tx: begin_epoch(tx, self.now)))
        self._price = db.read(lambda tx: price_of(tx, "tiny"))
        for name in ("acme", "mole"):
            self.give(name)

    def give(self, name: str) -> None:
        grant = grants.new_grant(
            id=f"gr_{name}_{self.now}", tenant_id=f"ten_{name}", amount=50 * NANO, currency="CNY", funding=Funding.CUSTOMER,
            now=self.now,
        )  # fmt: skip
        self.db.write_now(lambda tx: grants.give(tx, grant))

    def pass_by(self, requests: int) -> None:
        """Each holds for ten tokens in and ten out and uses five of both; one in a while stays open for longer."""
        for number in self._open:
            self._settle(number)
        self._open.clear()
        for _ in range(requests):
            self._number += 1
            self.now += NANO
            name, budget = CALLERS[self._number % len(CALLERS)]
            self._ask(
                ToHold(
                    request_id=request(self._number), payer=payer(name, budget=budget), price=self._price, input_bound=10,
                    output_bound=10,
                )
            )  # fmt: skip
            if self._number % requests == 0:
                self._open.append(self._number)
            else:
                self._settle(self._number)

    def tamper(self, *statements: str) -> None:
        """Change rows behind the books' back, as whoever has the database can."""

        def work(tx: Tx) -> None:
            for statement in statements:
                tx.run(statement)

        self.tamper_by(work)

    def tamper_by(self, work: Callable[[Tx], None]) -> None:
        """The same by what is not a statement alone: no trigger stands in its way."""

        def unguarded(tx: Tx) -> None:
            for statement in self._unguarded(tx):
                tx.run(statement)
            work(tx)

        self.db.write_now(unguarded)

    def _unguarded(self, tx: Tx) -> list[str]:
        if self.db.dialect == "postgresql":
            return ["SET LOCAL session_replication_role = replica"]
        names = tx.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        return [f"DROP TRIGGER {name}" for (name,) in names]

    def _settle(self, number: int) -> None:
        self._ask(ToSettle(request_id=request(number), outcome=outcome(5, 5), price=self._price))

    def _ask(self, order: Order) -> None:
        (answer,) = self.db.write_now(lambda tx: serve(tx, [order], self._ours, self.now))
        if isinstance(answer, Exception):
            raise answer
