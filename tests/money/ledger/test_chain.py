"""The hash chain: every transfer is linked to the one before it in its chain, and any change breaks a link."""

import hashlib

from tests.money.house import House

from millrace.money.ledger import store as ledger
from millrace.money.ledger.chain import GENESIS, Chain, Transfer, link
from millrace.money.ledger.entries import Entry

ROW = Transfer("id", "post", "from", "to", 7, "waits", 9)


def test_a_link_is_the_hash_of_all_fields_and_the_one_before() -> None:
    """Written out by hand: who checks our books elsewhere needs nothing of ours."""
    text = b"id\x1fpost\x1ffrom\x1fto\x1f7\x1fwaits\x1f9"
    assert link(GENESIS, ROW) == hashlib.sha256(bytes(32) + text).digest()


def test_every_field_counts() -> None:
    """And so does what came before."""
    others = [
        Transfer("i", "post", "from", "to", 7, "waits", 9), Transfer("id", "void", "from", "to", 7, "waits", 9),
        Transfer("id", "post", "fro", "to", 7, "waits", 9), Transfer("id", "post", "from", "t", 7, "waits", 9),
        Transfer("id", "post", "from", "to", 8, "waits", 9), Transfer("id", "post", "from", "to", 7, None, 9),
        Transfer("id", "post", "from", "to", 7, "waits", 8), Transfer("id", "post", "fromto", "", 7, "waits", 9),
    ]  # fmt: skip
    assert len({link(GENESIS, ROW), link(b"x" * 32, ROW), *(link(GENESIS, one) for one in others)}) == 2 + len(others)


def test_the_ledger_is_one_chain_in_the_order_of_its_rows(house: House) -> None:
    """Whatever was written in one batch or in many, the chain's row says its length and its head."""
    house.give("acme", "1")
    house.give("acme", "1")
    house.hold(1, "acme", 1_500, 0)
    house.settle(1, 700, 0)
    rows = house.tx.rows(
        "SELECT id, kind, debit_account, credit_account, amount, pending_id, at, chain, hash FROM transfer ORDER BY seq"
    )
    head = GENESIS
    for *fields, number, digest in rows:
        head = link(head, Transfer(*fields))
        assert (number, digest) == (1, head)
    assert house.tx.rows("SELECT number, length, head FROM chain") == [(1, len(rows), head)]


def test_a_writer_goes_on_with_the_chain_that_it_takes(house: House) -> None:
    """Of several the first that is free; each has a length and a head of its own."""
    house.give("acme", "1")
    house.tx.run("INSERT INTO chain VALUES (2, 0, :head)", head=GENESIS)
    (before,) = house.tx.rows("SELECT length, head FROM chain WHERE number = 1")
    house.give("acme", "1")
    chains = house.tx.rows("SELECT number, length FROM chain ORDER BY number")
    assert chains == [(1, before[0] + 1), (2, 0)]
    assert house.disagreements() == []


def test_a_refused_batch_leaves_the_chain(house: House) -> None:
    """Nothing was made, so nothing was linked."""
    house.give("acme", "1")
    before = house.tx.rows("SELECT * FROM chain")
    ledger.apply(house.tx, [Entry(id="a", kind="single", amount=1, at=0, debit="nobody", credit="noone")])
    assert house.tx.rows("SELECT * FROM chain") == before


def test_a_chain_counts_what_it_links() -> None:
    """Two rows one after the other."""
    chain = Chain(1, 0, GENESIS)
    first = chain.add(ROW)
    assert chain.add(ROW) == link(first, ROW)
    assert chain.length == 2
