"""Two servers at the same purse at the same moment, on PostgreSQL: what one moves, the other sees or waits for."""

import threading

from tests.money.house import House, payer, request
from tests.postgres import Server
from tests.postgresql.money.conftest import PostgresHouse

from millrace.base.money import NANO
from millrace.money.billing.desk import Ours
from millrace.money.billing.orders import Recalling, ToHold
from millrace.money.billing.serving import serve
from millrace.store.postgres import PostgresSession
from millrace.store.postgres_connection import Address


def test_credit_that_goes_into_a_slice_at_this_moment_is_not_missed(house: House, server: Server) -> None:
    """B's hold waits for the row of the grant, out of which A takes a slice: B is told to ask again, not 402."""
    assert isinstance(house, PostgresHouse)
    house.give("acme", "8")
    a, b = house.another("acme"), house.another()
    database = house.session.tx.row("SELECT current_database()")
    assert database is not None
    other = PostgresSession(Address(server.url(database[0])))
    answers: list[object] = []

    def wanted(number: int, tokens: int) -> ToHold:
        return ToHold(
            request_id=request(number), payer=payer("acme"), price=house.price["tiny"], input_bound=tokens, output_bound=0
        )

    def ask(ours: Ours) -> None:
        other.begin()
        answers.extend(serve(other.tx, [wanted(2, 7_500)], ours, house.clock.now()))
        other.commit()
        other.close()

    house.session.begin()
    serve(house.session.tx, [wanted(1, 100)], a, house.clock.now())
    waiting = threading.Thread(target=ask, args=(b,))
    waiting.start()
    while not house.session.tx.row("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        waiting.join(0.01)
    house.session.commit()
    waiting.join()
    assert isinstance(answers[0], Recalling), answers
    assert house.balance("acme").available == 8 * NANO - NANO // 10
