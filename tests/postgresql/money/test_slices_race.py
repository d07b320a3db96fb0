"""Two servers at the same purse at the same moment, on PostgreSQL: what one moves, the other sees or waits for."""

import threading
from typing import NamedTuple

from tests.money.house import House, payer, request
from tests.postgres import Server
from tests.postgresql.money.conftest import PostgresHouse

from millrace.base.money import NANO
from millrace.money.billing.desk import Ours
from millrace.money.billing.orders import Recalling, ToHold
from millrace.money.billing.serving import SOURCES_FIRST, serve
from millrace.store.postgres import PostgresSession
from millrace.store.postgres_connection import Address


class Wanted(NamedTuple):
    """A hold that a server is asked for."""

    ours: Ours
    number: int
    tokens: int


def _hold(house: House, number: int, tokens: int) -> ToHold:
    return ToHold(
        request_id=request(number), payer=payer("acme"), price=house.price["tiny"], input_bound=tokens, output_bound=0
    )


def _behind(house: PostgresHouse, server: Server, first: Wanted, second: Wanted) -> object:
    """What the second is answered, which waits for a row until the first is committed."""
    database = house.session.tx.row("SELECT current_database()")
    assert database is not None
    other = PostgresSession(Address(server.url(database[0])))
    answers: list[object] = []

    def ask() -> None:
        other.begin()
        answers.extend(serve(other.tx, [_hold(house, second.number, second.tokens)], second.ours, house.clock.now()))
        other.commit()
        other.close()

    house.session.begin()
    serve(house.session.tx, [_hold(house, first.number, first.tokens)], first.ours, house.clock.now())
    waiting = threading.Thread(target=ask)
    waiting.start()
    while not house.session.tx.row("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        waiting.join(0.01)
    house.session.commit()
    waiting.join()
    return answers[0]


def test_credit_that_goes_into_a_slice_at_this_moment_is_not_missed(house: House, server: Server) -> None:
    """B's hold waits for the row of the grant, out of which A takes a slice: B is told to ask again, not 402."""
    assert isinstance(house, PostgresHouse)
    house.give("acme", "8")
    a, b = house.another("acme"), house.another()
    answer = _behind(house, server, Wanted(a, 1, 100), Wanted(b, 2, 7_500))
    assert isinstance(answer, Recalling), answer
    assert house.balance("acme").available == 8 * NANO - NANO // 10


def test_a_grant_that_was_not_looked_at_yet_is_not_missed(house: House, server: Server) -> None:
    """Of many grants the first few are read, with enough in them; B's hold waits for these, and A uses them up."""
    assert isinstance(house, PostgresHouse)
    for _ in range(SOURCES_FIRST + 1):
        house.give("acme", "1")
    a, b = house.another(), house.another()
    answer = _behind(house, server, Wanted(a, 1, SOURCES_FIRST * 1_000 - 100), Wanted(b, 2, 1_000))
    assert isinstance(answer, Recalling), answer
    assert not isinstance(house.ask(_hold(house, 2, 1_000), ours=b)[0], Exception)
