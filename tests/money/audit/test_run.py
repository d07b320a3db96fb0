"""The auditor: silent on books that are right, and each planted fault is found by the check whose business it is."""

import re

import pytest
from tests.money.house import NOVEMBER_23, House, request

from millrace.base.money import MAX_NANO, NANO
from millrace.money.audit import store
from millrace.money.audit.run import audit
from millrace.money.grants.grant import Funding
from millrace.money.invoices import verify
from millrace.money.ledger import names
from millrace.money.ledger import store as ledger
from millrace.store.transaction import Tx


@pytest.fixture
def lived(house: House) -> House:
    """Books that something of everything happened in: requests 1 to 4 are settled, 5 and 6 are open, a grant has
    expired.
    """
    house.give("acme", "1", funding=Funding.OPERATOR, expires_in_s=60, id_="gr_short")
    house.give("acme", "3", funding=Funding.OPERATOR, id_="gr_gift")
    house.give("acme", "20", id_="gr_paid")
    house.give("mole", "1", id_="gr_mole")
    house.hold(1, "acme", 100, 100, budget=True)
    house.settle(1, 100, 50)
    house.clock.advance(3_600)
    house.expire()
    house.hold(2, "acme", 4_000, 100)
    house.settle(2, 3_500, 100, waived=3)
    house.hold(3, "bolt", 1_000, 0)
    house.settle(3, 1_000, 0)
    house.hold(4, "acme", 10, 10, model="free")
    house.settle(4, 0, 0, model="free")
    house.hold(5, "acme", 300, 100, budget=True)
    house.extend(5, "acme", 300, budget=True)
    house.hold(6, "bolt", 700, 0)
    house.do(slice_off)
    house.do(other_rooms)
    return house


def slice_off(tx: Tx) -> None:
    """A server that is no more had a slice of gr_paid and gave it back; this one has a slice of it now."""
    tx.run("INSERT INTO epoch (number, started_at, ended_at, taken_by) VALUES (7, 1, 2, 1), (8, 3, NULL, NULL)")
    for epoch in (7, 8):
        account = names.lease(epoch, "grant/gr_paid")
        ledger.open_account(tx, account, "CNY", overdraft=0)
        ledger.transfer(tx, id=f"slice/{epoch}", debit="grant/gr_paid", credit=account, amount=2 * NANO, at=NOVEMBER_23)
        tx.run(
            "INSERT INTO lease VALUES (:account, :epoch, 'ten_acme', 'CNY', 'grant/gr_paid', 0, 9, 9, 0)",
            account=account, epoch=epoch,
        )  # fmt: skip
    back = names.lease(7, "grant/gr_paid")
    ledger.transfer(tx, id="slice/7/back", debit=back, credit="grant/gr_paid", amount=2 * NANO, at=NOVEMBER_23)


def other_rooms(tx: Tx) -> None:
    """What limits and repetitions left behind, and a waiver that came late."""
    tx.run("UPDATE api_key SET rpm = 60, tpm = 1000 WHERE id = 'key_acme'")
    tx.run("INSERT INTO bucket VALUES ('key_acme', 'rpm', 3600000, 0), ('key_acme', 'tpm', 60000000, 0)")
    tx.run("INSERT INTO waiver VALUES (:settled, 5, 0), (:open, 5, 0)", settled=request(2), open=request(5))
    tx.run("INSERT INTO epoch (number, started_at, ended_at) VALUES (9, 1, 2)")
    tx.run("INSERT INTO engine_count VALUES (9, 'tiny', '2026-11-23', 1, 10, 10)")
    tx.run("INSERT INTO idempotency_space VALUES ('ten_acme', 1, 2, 0)")
    for key in ("a", "b"):
        tx.run(
            "INSERT INTO idempotency (tenant_id, key, body, request_id, epoch, created_at, state, size)"
            " VALUES ('ten_acme', :key, '', :request, 1, 0, 'running', 0)",
            key=key, request=f"req_{key}",
        )  # fmt: skip


def test_right_books_pass(lived: House) -> None:
    """Every check looked at something and none disagrees."""
    checks = audit(lived.tx)
    assert [check for check in checks if not check.ok] == []
    assert [check.name for check in checks if check.checked == 0 and "invoice" not in check.name] == []
    assert len({check.name for check in checks}) == len(checks)


def test_empty_books_pass(house: House) -> None:
    """A house without any request has nothing to disagree about."""
    assert house.disagreements() == []


def found_by(house: House) -> dict[str, str]:
    return {check.name: check.detail for check in audit(house.tx) if not check.ok}


FAULTS = {
    "money from nowhere": (
        "UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'grant/gr_paid'",
        "debits equal credits", "CNY: debits and credits",
    ),
    "pending from nowhere": (
        "UPDATE account SET credits_pending = credits_pending + 1 WHERE id = 'revenue/CNY/tiny'",
        "debits equal credits", "CNY: debits and credits",
    ),
    "a debit moved to another account": (
        (
            "UPDATE account SET debits_posted = debits_posted + 7 WHERE id = 'cash/CNY'; "
            "UPDATE account SET debits_posted = debits_posted - 7 WHERE id = 'promotion/CNY'"
        ),
        "accounts are what their transfers come to", "that its transfers do not come to: debits_posted",
    ),
    "a pending credit moved to another account": (
        (
            "UPDATE account SET credits_pending = credits_pending + 7 WHERE id = 'cash/CNY'; "
            "UPDATE account SET credits_pending = credits_pending - 7 WHERE id = 'revenue/CNY/tiny'"
        ),
        "accounts are what their transfers come to", "that its transfers do not come to: credits_pending",
    ),
    "a transfer changed": (
        "UPDATE transfer SET amount = amount + 1 WHERE id = '<3>/1/end'",
        "accounts are what their transfers come to", "has columns that its transfers do not come to",
    ),
    "a transfer deleted": (
        "DELETE FROM transfer WHERE id = 'gr_mole'",
        "accounts are what their transfers come to", "account cash/CNY",
    ),
    "an account overdrawn": (
        "UPDATE account SET overdraft = 1 WHERE id = 'receivable/ten_bolt/CNY'",
        "no account is overdrawn", "account receivable/ten_bolt/CNY is overdrawn: it may go 1",
    ),
    "a transfer to an account that is not there": (
        "UPDATE transfer SET credit_account = 'nobody' WHERE id = 'gr_mole'",
        "transfers are between two accounts of one currency", "there are transfers of account nobody, which is not there",
    ),
    "a transfer between two currencies": (
        "UPDATE account SET currency = 'USD' WHERE id = 'grant/gr_mole'",
        "transfers are between two accounts of one currency", "transfer gr_mole is between cash/CNY and grant/gr_mole",
    ),
    "a hold resolved twice": (
        (
            "CREATE TABLE bare AS SELECT * FROM transfer; DROP TABLE transfer; ALTER TABLE bare RENAME TO transfer; "
            "INSERT INTO transfer SELECT 999, id || '/again', kind, debit_account, credit_account, amount, pending_id, at,"
            " chain, hash FROM transfer WHERE id = '<3>/1/end'"
        ),
        "a hold is resolved once, by no more than it held",
        "transfer <3>/1/end/again resolves <3>/1, which is no pending transfer or was resolved before",
    ),
    "more posted than was held": (
        "UPDATE transfer SET amount = amount - 1 WHERE id = '<3>/1'",
        "a hold is resolved once, by no more than it held", "transfer <3>/1/end posts 1000000000, more than the 999999999",
    ),
    "a void of something": (
        "UPDATE transfer SET kind = 'void' WHERE id = '<3>/1/end'",
        "a hold is resolved once, by no more than it held", "transfer <3>/1/end is a void of 1000000000",
    ),
    "a post between other accounts": (
        "UPDATE transfer SET debit_account = 'grant/gr_mole' WHERE id = '<3>/1/end'",
        "a hold is resolved once, by no more than it held", "is between other accounts than",
    ),
    "a post of nothing": (
        "UPDATE transfer SET pending_id = NULL WHERE id = '<3>/1/end'",
        "a hold is resolved once, by no more than it held", "is a post and resolves nothing",
    ),
    "a hold that says too much": (
        "UPDATE open_hold SET amount = amount + 1 WHERE request_id = '<6>'",
        "open holds are their pending transfers", "hold <6> of 700000001 in 1 parts has pending transfers of 700000000 in 1",
    ),
    "a hold that lost a leg": (
        "UPDATE open_hold SET legs = 1 WHERE request_id = '<5>'",
        "open holds are their pending transfers", "hold <5> of",
    ),
    "a hold forgotten": (
        "DELETE FROM open_hold WHERE request_id = '<6>'",
        "open holds are their pending transfers", "transfer <6>/1 is pending, and there is no open hold for it",
    ),
    "a sum that three ways do not agree on": (
        "UPDATE open_hold SET currency = 'USD' WHERE request_id = '<6>'",
        "what is pending is what open holds reserve", "in open holds",
    ),
    "a hold of no epoch": (
        "UPDATE open_hold SET epoch = 77 WHERE request_id = '<6>'",
        "holds and usage are of known epochs", "request <6> was held by epoch 77, which never was",
    ),
    "usage of no epoch": (
        "UPDATE usage SET epoch = 78 WHERE seq = 1",
        "holds and usage are of known epochs", "request <1> was held by epoch 78",
    ),
    "a request with two usage rows": (
        (
            "CREATE TABLE bare AS SELECT * FROM usage; DROP TABLE usage; ALTER TABLE bare RENAME TO usage; "
            "INSERT INTO usage SELECT * FROM usage WHERE seq = 1"
        ),
        "a request has one usage row or an open hold", "request <1> has 2 usage rows",
    ),
    "a request that is settled and open": (
        "UPDATE usage SET request_id = '<6>' WHERE seq = 1",
        "a request has one usage row or an open hold", "request <6> has a usage row and an open hold",
    ),
    "a usage row that says too much": (
        "UPDATE usage SET amount = amount + 1 WHERE seq = 2",
        "each request posted what it was charged", "request <2> was charged 3700000001 and posted 3700000000",
    ),
    "a usage row deleted": (
        "DELETE FROM usage WHERE seq = 2",
        "each request posted what it was charged", "request <2> posted 3700000000, and there is no usage row for it",
    ),
    "a request on a stranger's grant": (
        "UPDATE credit_grant SET tenant_id = 'ten_mole' WHERE id = 'gr_gift'",
        "requests draw on their own tenant", "of ten_acme drew on grant/gr_gift",
    ),
    "a request that earned for another model": (
        "UPDATE usage SET model = 'free' WHERE seq = 3",
        "requests draw on their own tenant", "request <3> of ten_bolt drew on receivable/ten_bolt/CNY for revenue/CNY/tiny",
    ),
    "usage of another tenant": (
        "UPDATE usage SET tenant_id = 'ten_mole' WHERE seq = 3",
        "each tenant posted what it was charged", "tenant ten_bolt was charged 0 nano-units of CNY and posted 1000000000",
    ),
    "tokens changed": (
        "UPDATE usage SET output = output + 1 WHERE seq = 2",
        "usage was charged at its price", "request <2> was charged 3700000000 CNY for tiny in tier 0; by tiny/CNY/v1",
    ),
    "another tier": (
        "UPDATE usage SET tier = 1 WHERE seq = 2",
        "usage was charged at its price", "request <2> was charged",
    ),
    "a price that is not in the book": (
        "UPDATE usage SET price_id = 'tiny/CNY/v9' WHERE seq = 2",
        "usage was charged at its price", "request <2>: there is no price tiny/CNY/v9",
    ),
    "another model's price": (
        "UPDATE usage SET price_id = 'free/CNY/v1', amount = 0 WHERE seq = 2",
        "usage was charged at its price", "request <2> was charged 0 CNY for tiny",
    ),
    "a grant that says too much": (
        "UPDATE credit_grant SET amount = amount + 1 WHERE id = 'gr_short'",
        "grants are used, expired, left or held", "gr_short of 1000000001: used 200000000, expired 800000000, left 0, held 0",
    ),
    "a grant without its account": (
        "DELETE FROM account WHERE id = 'grant/gr_mole'",
        "grants are used, expired, left or held", "grant gr_mole of 1000000000",
    ),
    "a debit that is neither use nor expiry": (
        "UPDATE transfer SET id = 'theft' WHERE id LIKE 'gr_short/expired/%'",
        "grants are used, expired, left or held", "grant gr_short of 1000000000: used 200000000, expired 0",
    ),
    "a grant that was never booked": (
        "UPDATE transfer SET id = 'other' WHERE id = 'gr_mole'",
        "grants were booked when they were given", "grant gr_mole of 1000000000 was not booked by a transfer of its id",
    ),
    "a grant that cannot be spent": (
        "DELETE FROM live_grant WHERE grant_id = 'gr_paid'",
        "grants with something left are live", "grant gr_paid has",
    ),
    "a budget that says too little spent": (
        "UPDATE budget SET spent = spent - 1",
        "budgets are what their requests come to", "key key_acme_small in 2026-11: the budget says spent 199999999",
    ),
    "a budget that says too much held": (
        "UPDATE budget SET held = held + 1",
        "budgets are what their requests come to", "the requests come to 200000000 and 900000000",
    ),
    "a request that counts in no budget": (
        "DELETE FROM budget",
        "budgets are what their requests come to", "requests of key key_acme_small in 2026-11 count in no budget",
    ),
    "a budget exceeded": (
        "UPDATE api_key SET budget = 1000000 WHERE budget IS NOT NULL",
        "no budget is exceeded", "key key_acme_small has a budget of 1000000 and used 1100000000 of it in 2026-11",
    ),
    "a budget's month that nobody counted in": (
        "UPDATE usage SET amount = amount + 1, key_id = 'key_acme_small' WHERE seq = 2",
        "budgets are what their requests come to", "the requests come to 3900000001 and",
    ),
    "a hold that says that it drew on another account": (
        "UPDATE open_hold SET draws = replace(draws, 'bolt', 'mole') WHERE request_id = '<6>'",
        "open holds are their pending transfers", "hold <6> says that it drew [[\"receivable/ten_mole/CNY\"",
    ),
    "a row of a chain changed": (
        "UPDATE transfer SET at = at + 1 WHERE id = 'gr_gift'",
        "each transfer follows the one before it in its chain", "transfer gr_gift, number 2 of chain 1, does not",
    ),
    "a row of a chain removed": (
        "DELETE FROM transfer WHERE id = 'gr_gift'",
        "each transfer follows the one before it in its chain", "transfer gr_paid, number 2 of chain 1, does not",
    ),
    "a row put into a chain": (
        (
            "UPDATE transfer SET seq = -10 * seq; UPDATE transfer SET seq = -seq; "
            "INSERT INTO transfer SELECT 15, 'gr_more', kind, debit_account, credit_account, amount, NULL, at, chain, hash"
            " FROM transfer WHERE id = 'gr_gift'"
        ),
        "each transfer follows the one before it in its chain", "transfer gr_more, number 2 of chain 1, does not",
    ),
    "two rows of a chain swapped": (
        (
            "UPDATE transfer SET seq = -3 WHERE seq = 2; UPDATE transfer SET seq = 2 WHERE seq = 3; "
            "UPDATE transfer SET seq = 3 WHERE seq = -3"
        ),
        "each transfer follows the one before it in its chain", "transfer gr_paid, number 2 of chain 1, does not",
    ),
    "a row taken out of its chain": (
        "UPDATE transfer SET chain = NULL, hash = NULL WHERE id = 'gr_gift'",
        "each transfer follows the one before it in its chain", "transfer gr_gift has no hash, and one before it has",
    ),
    "a chain whose tail was cut off": (
        "DELETE FROM transfer WHERE id = 'slice/7/back'",
        "chains end where their transfers do", "transfers by its own word and",
    ),
    "a chain that ends in something else": (
        "UPDATE chain SET head = zeroblob(32)",
        "chains end where their transfers do", "chain 1 ends in 0000",
    ),
    "a chain that is not there": (
        "DELETE FROM chain",
        "chains end where their transfers do", "there are transfers of chain 1, which is not there",
    ),
    "a lease of another grant": (
        "UPDATE lease SET origin = 'grant/gr_gift' WHERE epoch = 8",
        "leases are slices of the account that they name", "lease lease/8/grant/gr_paid is of epoch 8 and of grant/gr_gift",
    ),
    "a lease forgotten": (
        "DELETE FROM lease WHERE epoch = 8",
        "leases are slices of the account that they name", "account lease/8/grant/gr_paid has 2000000000 left and 0 held",
    ),
    "a lease of an epoch that has ended": (
        "UPDATE epoch SET ended_at = 9 WHERE number = 8",
        "leases of ended epochs are empty", "lease lease/8/grant/gr_paid of epoch 8, which has ended, has 2000000000 left",
    ),
    "a lease of a grant that was taken away": (
        "UPDATE account SET credits_posted = credits_posted - 1 WHERE id = 'lease/8/grant/gr_paid'",
        "grants are used, expired, left or held", "grant gr_paid of 20000000000",
    ),
    "an epoch that ended with an open hold": (
        "UPDATE epoch SET ended_at = 9 WHERE number = 1",
        "an ended epoch has no open hold", "epoch 1 has ended, and request <5> of it is open",
    ),
    "an epoch taken over by none": (
        "UPDATE epoch SET taken_by = 77 WHERE number = 7",
        "epochs are taken over by others that were there", "epoch 7 was taken over by epoch 77, which never was",
    ),
    "an epoch taken over by itself": (
        "UPDATE epoch SET taken_by = 8 WHERE number = 8",
        "epochs are taken over by others that were there", "epoch 8 was taken over by epoch 8, which is itself",
    ),
    "a waiver of no request": (
        "UPDATE waiver SET request_id = 'req_none' WHERE request_id = '<2>'",
        "late waivers belong to usage", "request req_none has a waiver, and neither",
    ),
    "a bucket that is too full": (
        "UPDATE bucket SET level = level + 1 WHERE name = 'tpm'",
        "no bucket is above its limit", "key key_acme has 60000001 left of its tpm, more than the 60000000",
    ),
    "a request under two idempotency keys": (
        (
            "CREATE TABLE bare AS SELECT * FROM idempotency; DROP TABLE idempotency; ALTER TABLE bare RENAME TO idempotency; "
            "UPDATE idempotency SET request_id = 'req_a'"
        ),
        "a request answers one idempotency key", "request req_a answers 2 idempotency keys",
    ),
    "a kept answer that takes space that nobody counted": (
        "UPDATE idempotency SET size = 7 WHERE key = 'a'",
        "idempotency keys take the space that is counted", "the idempotency keys of ten_acme of epoch 1 are 2 of 7 bytes, and",
    ),
    "a budget of a month that nothing was spent in": (
        "INSERT INTO budget VALUES ('key_mole', '2026-10', 0, 5)",
        "budgets are what their requests come to", "key key_mole in 2026-10: the budget says spent 5 and held 0",
    ),
    "a request that was billed for more than its engine made": (
        "UPDATE usage SET epoch = 9 WHERE seq = 3",
        "what was billed is within what engines made", "of epoch 9 1000 input tokens of tiny were billed, its engines made 10",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "name", "detail"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_found(lived: House, statements: str, name: str, detail: str) -> None:
    """The check whose business it is fails, and names the row."""
    lived.tamper(*_named(statements).split("; "))
    found = found_by(lived)
    assert name in found, found
    assert _named(detail) in found[name]


def _named(text: str) -> str:
    """With the ids of the requests: '<3>' is the third."""
    return re.sub("<([0-9])>", lambda match: request(int(match[1])), text)


def test_every_check_was_seen_to_fail(lived: House) -> None:
    """A check that no fault is planted for proves nothing. (Those of invoices are tested with the invoices.)"""
    invoices = {check.name for check in verify.verify(lambda work: work(lived.tx))}
    ours = {check.name for check in audit(lived.tx)} - invoices
    assert ours == {name for _, name, _ in FAULTS.values()}


def test_invoices_are_asked_too(lived: House) -> None:
    """What the invoice room finds is found here, in the same form."""
    lived.tamper("UPDATE usage SET invoice_id = 'inv_none' WHERE seq = 2")
    found = found_by(lived)
    assert f"request {request(2)} is on inv_none" in found["usage is on one valid invoice or on none"]


def test_sums_past_64_bits_are_summed(house: House) -> None:
    """A large cloud's totals do not fit an integer of the database, and are not refused by it."""
    for name in ("acme", "mole"):
        for funding in Funding:
            house.give(name, "4000000000.000000001", funding=funding)
    house.tamper("UPDATE account SET debits_posted = debits_posted + 1 WHERE id = 'sponsor/CNY'")
    total = 6 * (4_000_000_000 * NANO + 1)
    assert total > MAX_NANO
    assert found_by(house)["debits equal credits"].startswith(f"CNY: debits and credits are {total + 1} and {total} posted")


def test_usage_is_read_in_pages(lived: House) -> None:
    """The last row of several pages is rated like the first."""
    rows = 10_001
    assert rows == 2 * store.PAGE_ROWS + 1
    lived.tamper(
        """WITH RECURSIVE n (n) AS (SELECT 5 UNION ALL SELECT n + 1 FROM n WHERE n < 10001)
        INSERT INTO usage SELECT n, 'req_' || n, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input,
          output, reasoning, waived, price_id, tier, amount, currency, epoch, started_at, finished_at, NULL
        FROM n JOIN usage ON seq = 4"""
    )
    assert {check.name: check.checked for check in audit(lived.tx)}["usage was charged at its price"] == rows
    assert lived.disagreements() == []
    lived.tamper("UPDATE usage SET tier = 1 WHERE seq = 10001")
    assert f"req_{rows} was" in found_by(lived)["usage was charged at its price"]
