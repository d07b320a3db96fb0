"""tests/money/ledger/test_chain.py on PostgreSQL, and writers that write at the same moment."""

from tests.money.house import House
from tests.money.ledger.test_chain import *  # noqa: F403 - each of its tests is one of this file
from tests.postgresql.money.conftest import PostgresHouse

from millrace.money.ledger import store as ledger
from millrace.store.postgres import PostgresSession


def test_writers_at_the_same_moment_have_chains_of_their_own(house: House) -> None:
    """None waits for another that has a chain; afterwards the first free one is written on, and every chain is whole."""
    assert isinstance(house, PostgresHouse)
    house.give("acme", "1")
    for name in "abcdef":
        house.do(lambda tx, name=name: ledger.open_account(tx, name, "CNY", overdraft=None))  # type: ignore[misc]
    writers = [PostgresSession(house.session._address) for _ in range(3)]
    for together in (2, 3):  # a third chain is made once the second is there to be seen
        for number, (writer, debit, credit) in enumerate(zip(writers[:together], "ace", "bdf", strict=False)):
            writer._connection.execute("SET idle_in_transaction_session_timeout = 0")  # a slow machine is no fault here
            writer.begin()
            ledger.transfer(writer.tx, id=f"{number}/{together}", debit=debit, credit=credit, amount=1, at=0)
        for writer in reversed(writers[:together]):
            writer.commit()
    for writer in writers:
        writer.close()
    house.give("acme", "1")
    assert house.do(lambda tx: tx.rows("SELECT number, length FROM chain ORDER BY number")) == [(1, 4), (2, 2), (3, 1)]
    assert house.do(lambda tx: tx.rows("SELECT id FROM transfer WHERE chain = 2 ORDER BY id")) == [("1/2",), ("1/3",)]
    assert house.disagreements() == []
