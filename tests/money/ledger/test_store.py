"""Tests that read like ledgers: the docstring of each is its promise and, below it, the rows that are made and
answered.

A row is `id kind what amount answer`; `what` is 'debit>credit', or the id that a post or void resolves. After the rows
come the accounts as they then stand: `account = debits_pending debits_posted credits_pending credits_posted`.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.money.house import House

from millrace.base.money import MAX_NANO
from millrace.money.ledger import store as ledger
from millrace.money.ledger.entries import Account, Answer, Entry, Kind, Refused
from millrace.money.ledger.sheet import Pending
from millrace.money.ledger.trial_balance import totals
from millrace.store.transaction import Conflict, Tx

KINDS: dict[str, Kind] = {"single": "single", "pending": "pending", "post": "post", "void": "void"}


class Ledger:
    """Accounts: `cash` and `income` without limit, `purse` at 0, `slate` that may owe 50, `dollars` in another
    currency.
    """

    def __init__(self) -> None:
        self.house = House()
        self.tx = self.house.tx
        for name, currency, overdraft in (
            ("cash", "CNY", None), ("income", "CNY", None), ("purse", "CNY", 0), ("slate", "CNY", 50), ("dollars", "USD", None),
        ):  # fmt: skip
            ledger.open_account(self.tx, name, currency, overdraft=overdraft)

    def play(self, text: str | None) -> None:
        """Make the rows of the text and compare the answers and accounts that it says."""
        assert text is not None
        rows = [line.split() for line in text.split("\n\n", 1)[1].splitlines() if line.strip()]
        for row in rows:
            if row[1] == "=":
                found = ledger.account(self.tx, row[0])
                assert found is not None
                assert _columns(found) == [int(column) for column in row[2:]], row[0]
            else:
                assert ledger.apply(self.tx, [_entry(row)]) == [Answer(row[4])], " ".join(row)
        self.check()

    def check(self) -> None:
        """Debits equal credits, and the accounts are what the transfers come to, whatever was refused on the way."""
        assert all(total.balanced for total in totals(ledger.accounts(self.tx)))
        ours = ("debits", "accounts", "transfers", "a hold is")
        found = [line for line in self.house.disagreements() if line.startswith(ours)]
        assert found == []


def _entry(row: list[str]) -> Entry:
    name, kind, what, amount = row[:4]
    if kind in ("post", "void"):
        return Entry(id=name, kind=KINDS[kind], amount=int(amount), at=0, pending_id=what)
    debit, credit = what.split(">")
    return Entry(id=name, kind=KINDS[kind], amount=int(amount), at=0, debit=debit, credit=credit)


def _columns(account: Account) -> list[int]:
    return [account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted]


@pytest.fixture
def books() -> Ledger:
    return Ledger()


def test_a_single_transfer_moves_its_amount(books: Ledger) -> None:
    """What is debited here is credited there.

    t1     single  cash>purse   100 ok
    t2     single  purse>income  40 ok
    cash   = 0 100 0   0
    purse  = 0  40 0 100
    income = 0   0 0  40
    """
    books.play(test_a_single_transfer_moves_its_amount.__doc__)


def test_pending_is_reserved_and_posted_once(books: Ledger) -> None:
    """A pending amount is gone from what is available, a post takes what it says and gives back the rest.

    t1     single  cash>purse   100 ok
    p1     pending purse>income  70 ok
    t2     single  purse>income  31 exceeds_credit
    t3     single  purse>income  30 ok
    x1     post    p1            20 ok
    x2     post    p1            20 already_posted
    x3     void    p1             0 already_posted
    purse  = 0  50 0 100
    income = 0   0 0  50
    """
    books.play(test_pending_is_reserved_and_posted_once.__doc__)


def test_void_gives_everything_back(books: Ledger) -> None:
    """After a void nothing was ever reserved.

    t1     single  cash>purse   100 ok
    p1     pending purse>income 100 ok
    p2     pending purse>income   1 exceeds_credit
    v1     void    p1             0 ok
    v2     void    p1             0 already_voided
    x1     post    p1           100 already_voided
    purse  = 0   0 0 100
    income = 0   0 0   0
    """
    books.play(test_void_gives_everything_back.__doc__)


def test_a_post_is_at_most_what_was_pending(books: Ledger) -> None:
    """Posting more is refused, posting all of it or nothing is not.

    t1     single  cash>purse   100 ok
    p1     pending purse>income  60 ok
    p2     pending purse>income  40 ok
    x1     post    p1            61 exceeds_pending
    x2     post    p1            60 ok
    x3     post    p2             0 ok
    purse  = 0  60 0 100
    """
    books.play(test_a_post_is_at_most_what_was_pending.__doc__)


def test_an_overdraft_is_a_limit(books: Ledger) -> None:
    """An account goes as far below zero as it may, pending amounts included, and not a nano-unit further.

    p1     pending slate>income  30 ok
    t1     single  slate>income  21 exceeds_credit
    t2     single  slate>income  20 ok
    t3     single  slate>income   1 exceeds_credit
    t4     single  cash>slate     5 ok
    t5     single  slate>income   5 ok
    slate  = 30 25 0 5
    """
    books.play(test_an_overdraft_is_a_limit.__doc__)


def test_the_same_entry_again_changes_nothing(books: Ledger) -> None:
    """An id is made once: again with the same content it exists, with other content it is refused by that name.

    t1     single  cash>purse   100 ok
    t1     single  cash>purse   100 exists
    t1     single  cash>purse    99 exists_with_different_content
    t1     single  cash>slate   100 exists_with_different_content
    t1     pending cash>purse   100 exists_with_different_content
    p1     pending purse>income  60 ok
    p1     pending purse>income  60 exists
    x1     post    p1            10 ok
    x1     post    p1            10 exists
    x1     post    p1            11 exists_with_different_content
    x1     void    p1             0 exists_with_different_content
    t1     post    p1             5 exists_with_different_content
    purse  = 0 10 0 100
    """
    books.play(test_the_same_entry_again_changes_nothing.__doc__)


def test_what_cannot_be_is_refused(books: Ledger) -> None:
    """Accounts that are not there, are one, or are of two currencies; resolving what is not pending.

    t1     single  cash>nobody    1 no_such_account
    t2     single  nobody>cash    1 no_such_account
    t3     single  cash>cash      1 accounts_are_the_same
    t4     single  cash>dollars   1 accounts_of_two_currencies
    t5     pending dollars>purse  1 accounts_of_two_currencies
    t6     single  cash>purse     1 ok
    x1     post    t6             1 no_such_pending
    x2     void    nothing        0 no_such_pending
    cash   = 0 1 0 1
    """
    text = test_what_cannot_be_is_refused.__doc__
    assert text is not None
    books.play(text.replace("cash   = 0 1 0 1", "cash   = 0 1 0 0"))


def test_an_account_never_overflows(books: Ledger) -> None:
    """An account holds 64 bits; what would not fit is refused, pending amounts counted, so a post always fits."""
    half = 2**62
    books.play(
        f"""-

        t1     single  cash>purse    {half} ok
        p1     pending cash>purse    {half - 1} ok
        t2     single  cash>purse    1 overflows_account
        p2     pending cash>slate    1 overflows_account
        x1     post    p1            {half - 1} ok
        t3     single  cash>purse    1 overflows_account
        t4     single  purse>income  {MAX_NANO} ok
        t5     single  slate>income  1 overflows_account
        t6     single  slate>purse   1 overflows_account
        p3     pending slate>purse   1 overflows_account
        purse  = 0 {MAX_NANO} 0 {MAX_NANO}
        slate  = 0 0 0 0
        """
    )
    too_much = Entry(id="t9", kind="single", amount=MAX_NANO + 1, at=0, debit="cash", credit="slate")
    assert ledger.apply(books.tx, [too_much]) == [Answer.OVERFLOWS_ACCOUNT]


def test_a_rich_account_with_an_overdraft_may_spend_all(books: Ledger) -> None:
    """Credits and overdraft together may be more than 64 bits without the sum being got wrong."""
    ledger.open_account(books.tx, "rich", "CNY", overdraft=2**62)
    books.play(
        f"""-

        t1     single  cash>rich     {MAX_NANO} ok
        t2     single  rich>income   {MAX_NANO} ok
        t3     single  rich>slate    1 overflows_account
        rich   = 0 {MAX_NANO} 0 {MAX_NANO}
        """
    )


def test_a_refused_item_leaves_its_neighbours(books: Ledger) -> None:
    """A batch is answered item by item."""
    batch = [
        Entry(id="a", kind="single", amount=5, at=0, debit="cash", credit="purse"),
        Entry(id="b", kind="single", amount=6, at=0, debit="purse", credit="income"),
        Entry(id="c", kind="single", amount=5, at=0, debit="purse", credit="income"),
    ]
    assert ledger.apply(books.tx, batch) == [Answer.OK, Answer.EXCEEDS_CREDIT, Answer.OK]
    books.check()


def test_make_raises_what_was_refused(books: Ledger) -> None:
    """`make` takes a repetition for done, `make_new` does not; both raise any other refusal."""
    entry = Entry(id="a", kind="single", amount=5, at=0, debit="cash", credit="purse")
    ledger.make_new(books.tx, [entry])
    ledger.make(books.tx, entry)
    with pytest.raises(Refused, match="exists"):
        ledger.make_new(books.tx, [entry])
    with pytest.raises(Refused, match="exceeds_credit"):
        ledger.transfer(books.tx, id="b", debit="purse", credit="income", amount=6, at=0)


def test_pendings_are_found_among_other_transfers(books: Ledger) -> None:
    """A single transfer is none, and an id that nobody used is passed over."""
    single = Entry(id="a", kind="single", amount=5, at=0, debit="cash", credit="purse")
    ledger.make_new(books.tx, [single])
    pending = _pend(books.tx)
    assert ledger.pendings(books.tx, ["a", pending, "z"]) == {pending: Pending("purse", "income", 3)}


def _pend(tx: Tx) -> str:
    ledger.make_new(tx, [Entry(id="p", kind="pending", amount=3, at=0, debit="purse", credit="income")])
    return "p"


def test_a_negative_amount_is_a_bug(books: Ledger) -> None:
    """Nobody is debited by crediting less than nothing."""
    with pytest.raises(ValueError, match="negative"):
        ledger.apply(books.tx, [Entry(id="a", kind="single", amount=-1, at=0, debit="cash", credit="purse")])
    with pytest.raises(ValueError, match="void is 0"):
        ledger.apply(books.tx, [Entry(id="a", kind="void", amount=1, at=0, pending_id="p")])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfer SET amount = 1",
        "DELETE FROM transfer",
        "UPDATE account SET debits_posted = 101 WHERE id = 'purse'",
        "UPDATE account SET credits_posted = -1 WHERE id = 'slate'",
        "UPDATE account SET credits_posted = 1.5 WHERE id = 'slate'",
        "UPDATE account SET credits_posted = credits_posted + 9223372036854775807 WHERE id = 'purse'",
        (
            "INSERT INTO transfer (id, kind, debit_account, credit_account, amount, pending_id, at)"
            " SELECT 'again', kind, debit_account, credit_account, amount, pending_id, at FROM transfer WHERE pending_id = 'p1'"
        ),
    ],
)
def test_the_tables_refuse_too(books: Ledger, statement: str) -> None:
    """Whoever reaches the tables past the code cannot change a transfer, overdraw, overflow or resolve twice."""
    books.play("-\n\nt1 single cash>purse 100 ok\np1 pending purse>income 5 ok\nx1 post p1 5 ok")
    with pytest.raises(Conflict):
        books.tx.run(statement)


names = st.sampled_from(["cash", "income", "purse", "slate", "dollars", "nobody"])
ids = st.sampled_from([f"t{number}" for number in range(12)])
moves = st.builds(
    lambda id_, kind, debit, credit, amount: Entry(id=id_, kind=kind, debit=debit, credit=credit, amount=amount, at=0),
    ids, st.sampled_from([KINDS["single"], KINDS["pending"]]), names, names, st.integers(0, 60),
)  # fmt: skip
posts = st.builds(
    lambda id_, what, amount: Entry(id=id_, kind="post", pending_id=what, amount=amount, at=0), ids, ids, st.integers(0, 60)
)
voids = st.builds(lambda id_, what: Entry(id=id_, kind="void", pending_id=what, amount=0, at=0), ids, ids)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(moves, posts, voids), max_size=25))
def test_any_entries_keep_the_books_balanced(entries: list[Entry]) -> None:
    """Whatever is asked in whatever order, what was refused changed nothing and what was made balances."""
    books = Ledger()
    for entry in entries:
        before = ledger.accounts(books.tx)
        (answer,) = ledger.apply(books.tx, [entry])
        assert (answer is Answer.OK) or ledger.accounts(books.tx) == before
        _agree_with_oracle(books, entry, answer, before)
    books.check()


def _agree_with_oracle(books: Ledger, entry: Entry, answer: Answer, before: list[Account]) -> None:
    """Available money is the only reason for `exceeds_credit`, and it always is one."""
    if entry.kind in ("post", "void"):
        return
    debit = {account.id: account for account in before}.get(entry.debit)
    short = debit is not None and debit.overdraft is not None and entry.amount > debit.available
    assert (answer is Answer.EXCEEDS_CREDIT) <= short
    assert not (answer is Answer.OK and short), books

