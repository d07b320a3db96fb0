"""Running a month into invoices: each request once, numbers without gaps, and a ledger that says the same."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.money.invoices.world import DECEMBER, NOVEMBER, World, at

from millrace.base.errors import Reason, Refusal
from millrace.base.money import minor_unit, parse_amount, render_amount
from millrace.generation.chunk import TokenCounts
from millrace.money.invoices import store as invoices
from millrace.money.invoices.document import digest
from millrace.money.invoices.draft import Customer, Issuer
from millrace.store.transaction import Conflict

CENT = minor_unit("CNY")


def test_a_line_is_a_month_a_model_a_price_and_a_tier(world: World) -> None:
    """Requests that share all four are one line, whose amount is that of the sums of their tokens."""
    world.serve_table("""
        bolt  2026-11-02  qwen3-max  32768      0   1000
        bolt  2026-11-03  qwen3-max  32769      0   1000
        bolt  2026-11-04  qwen3-max   1000    900    100
        bolt  2026-11-05  tiny         333      0     33
        acme  2026-11-05  tiny        9999      0   9999
    """)
    (invoice,) = world.run("bolt")
    lines = [
        (line.month, line.model, line.price_id, line.tier, line.requests, line.input, line.cached_input, line.output,
         render_amount(line.amount))
        for line in invoice.document.lines
    ]  # fmt: skip
    assert lines == [
        ("2026-11", "qwen3-max", "qwen3-max/CNY/v1", 0, 2, 33768, 900, 1100, "0.093620000"),
        ("2026-11", "qwen3-max", "qwen3-max/CNY/v1", 1, 1, 32769, 0, 1000, "0.147076000"),
        ("2026-11", "tiny", "tiny/CNY/v1", 0, 1, 333, 0, 33, "0.000216000"),
    ]
    assert world.findings() == []


def test_a_postpaid_tenant_owes_whole_cents(world: World) -> None:
    """What is due is rounded half-up to what can be paid; document, receivable and rounding account agree on it."""
    world.serve_table("bolt  2026-11-02  qwen3-max  1000  0  250")  # 0.005: a tie, and it goes up
    (invoice,) = world.run("bolt")
    document = invoice.document
    assert (document.subtotal, document.due, document.total) == (CENT // 2, CENT, CENT)
    assert (document.rounding, document.tax, document.paid_from_grants) == (CENT // 2, 0, 0)
    assert world.balance("receivable/bolt/CNY") == -CENT
    assert world.balance("rounding/CNY") == CENT // 2
    assert world.balance("revenue/CNY/qwen3-max") == CENT // 2


def test_a_prepaid_tenant_owes_nothing(world: World) -> None:
    """Grants have paid each request already: nothing is due, and nothing is rounded to cents."""
    world.serve_table("acme  2026-11-02  qwen3-max  1000  0  250")
    (invoice,) = world.run("acme")
    document = invoice.document
    assert (document.due, document.total, document.paid_from_grants) == (0, CENT // 2, CENT // 2)
    assert document.rounding == 0
    assert world.balance("rounding/CNY") == 0


def test_what_grants_paid_is_not_due_again(world: World) -> None:
    """A postpaid tenant with a grant pays for what the grant did not cover, even where it ended amid a request."""
    world.grant("coop", "0.007")
    world.serve_table("""
        coop  2026-11-02  qwen3-max  1000  0  250
        coop  2026-11-02  qwen3-max  1000  0  250
        coop  2026-11-02  qwen3-max  1000  0  250
    """)
    (invoice,) = world.run("coop")
    document = invoice.document
    assert document.paid_from_grants == parse_amount("0.007")
    assert document.charged == parse_amount("0.008")
    assert document.due == CENT
    assert document.total == parse_amount("0.017")
    assert world.balance("receivable/coop/CNY") == -CENT
    assert world.findings() == []


def test_the_rounding_of_many_small_requests_is_posted(world: World) -> None:
    """81 charges of half a nano-unit were rounded to nothing each; the line is 40, and revenue is what it says."""
    world.price("half", (None, "0.0005", "0.0005", "0.0005"))
    for _ in range(81):
        world.serve("acme", "2026-11-02", "half", TokenCounts(1, 0, 0, 0))
    assert set(world.amounts().values()) == {0}
    (invoice,) = world.run("acme")
    assert invoice.document.subtotal == 40  # 40.5, half-even
    assert (invoice.document.rounding, invoice.document.total, invoice.document.due) == (-40, 0, 0)
    assert world.balance("revenue/CNY/half") == 40
    assert world.balance("rounding/CNY") == -40
    assert world.findings() == []


def test_no_difference_posts_no_transfer(world: World) -> None:
    """Where lines are what receipts add up to and whole cents are due, the ledger hears nothing of the invoice."""
    world.serve_table("bolt  2026-11-02  qwen3-max  1000  0  750")
    before = world.db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM transfer"))
    (invoice,) = world.run("bolt")
    assert invoice.document.due == CENT
    assert world.db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM transfer")) == before


def test_running_again_issues_nothing(world: World) -> None:
    """A second run finds everything invoiced and answers with the same invoices."""
    world.serve_table("bolt  2026-11-02  tiny  1  0  1")
    first = world.run("bolt")
    assert world.run("bolt", now="2026-12-05") == first
    assert world.db.read(invoices.all_invoices) == first


def test_a_tenant_that_was_not_served_gets_no_invoice_and_no_number(world: World) -> None:
    """Nothing to invoice, nothing counted; requests of which nothing was billed are nothing to invoice."""
    world.serve("bolt", "2026-11-02", "tiny", TokenCounts(0, 0, 0, 0))
    assert world.run("bolt") == []
    assert set(world.on().values()) == {None}
    world.serve_table("acme  2026-11-02  tiny  1  0  1")
    nothing = world.serve("acme", "2026-11-02", "tiny", TokenCounts(0, 0, 0, 0))
    (invoice,) = world.run("acme")
    assert (invoice.number, invoice.document.lines[0].requests, world.on()[nothing]) == ("MR-2026-000001", 1, None)


def test_late_usage_is_on_the_next_invoice_under_its_own_month(world: World) -> None:
    """What comes after its month was invoiced has a line of that month on the next invoice, and is on no other."""
    world.serve_table("bolt  2026-11-02  tiny  10  0  10")
    (november,) = world.run("bolt")
    late = world.serve("bolt", "2026-11-30T23:59:59.999999Z", "tiny", TokenCounts(20, 0, 20, 0))
    world.serve_table("bolt  2026-12-01  tiny  40  0  40")
    (december,) = world.run("bolt", DECEMBER, now="2027-01-01")
    assert [(line.month, line.input) for line in december.document.lines] == [("2026-11", 20), ("2026-12", 40)]
    assert world.on()[late] == december.id
    assert world.run("bolt") == [november]
    assert (november.number, december.number) == ("MR-2026-000001", "MR-2027-000001")
    assert world.findings() == []


def test_a_period_ends_where_the_next_begins(world: World) -> None:
    """The first nano-second of December is December's; the last of November is November's."""
    world.serve_table("""
        bolt  2026-11-30T23:59:59.999999Z  tiny  1  0  0
        bolt  2026-12-01T00:00:00.000000Z  tiny  2  0  0
    """)
    (november,) = world.run("bolt")
    assert [line.input for line in november.document.lines] == [1]
    assert not november.document.so_far


def test_a_running_period_is_invoiced_so_far(world: World) -> None:
    """An invoice before its period is over says so; what follows is on a further one, and both are the period's."""
    world.serve_table("bolt  2026-11-02  tiny  1  0  1")
    (first,) = world.run("bolt", now="2026-11-03")
    assert first.document.so_far
    world.serve_table("bolt  2026-11-04  tiny  2  0  2")
    assert [invoice.document.so_far for invoice in world.run("bolt")] == [True, False]
    assert world.findings() == []


def test_a_period_that_has_not_begun_is_refused(world: World) -> None:
    """November's usage does not go on December's invoice by a slip of the pen."""
    world.serve_table("bolt  2026-11-02  tiny  1  0  1")
    with pytest.raises(Refusal, match="2026-12 begins at"):
        world.run("bolt", DECEMBER, now="2026-11-03")


def test_prices_that_changed_amid_the_month_are_lines_of_their_own(world: World) -> None:
    """Each version of a price has its line, in the order of the versions and not of their spelling."""
    for version in range(2, 12):
        world.price("tiny", (None, f"{version}", "0", "0"), since=f"2026-11-{version:02}")
    for day in (1, 2, 10, 11, 2):
        world.serve("bolt", f"2026-11-{day:02}", "tiny", TokenCounts(1_000, 0, 0, 0))
    (invoice,) = world.run("bolt")
    assert [(line.price_id, line.requests) for line in invoice.document.lines] == [
        ("tiny/CNY/v1", 1), ("tiny/CNY/v2", 2), ("tiny/CNY/v10", 1), ("tiny/CNY/v11", 1),
    ]  # fmt: skip


def test_numbers_have_no_gaps_even_where_issuing_fails(world: World) -> None:
    """A run that is undone gives its number back with everything else; each issuer counts for itself."""
    world.serve_table("""
        acme  2026-11-02  tiny  1  0  1
        bolt  2026-11-02  tiny  1  0  1
        coop  2026-11-02  tiny  1  0  1
    """)

    def fails(tx: object) -> None:
        invoices.run(tx, Customer("acme", "Acme"), NOVEMBER, at("2026-12-01"), world.ids)  # type: ignore[arg-type]
        raise RuntimeError("the machine catches fire")

    with pytest.raises(RuntimeError, match="fire"):
        world.write(fails)
    assert [world.run(tenant)[0].number for tenant in ("acme", "bolt")] == ["MR-2026-000001", "MR-2026-000002"]
    other = Issuer("North Cloud", "NC")
    (north,) = world.write(
        lambda tx: invoices.run(tx, Customer("coop", "Coop"), NOVEMBER, at("2026-12-01"), world.ids, issuer=other)
    )
    assert (north.number, north.document.issuer) == ("NC-2026-000001", "North Cloud")
    assert world.findings() == []


def test_an_invoice_is_found_by_id_and_by_number(world: World) -> None:
    """Both names show the same frozen document under its hash; an unknown one is refused by name."""
    world.serve_table("bolt  2026-11-02  tiny  1  0  1")
    (invoice,) = world.run("bolt")
    assert world.db.read(lambda tx: invoices.show(tx, invoice.number)) == invoice
    assert world.db.read(lambda tx: invoices.show(tx, invoice.id)) == invoice
    assert digest(invoice.text) == invoice.sha256
    with pytest.raises(Refusal) as caught:
        world.db.read(lambda tx: invoices.show(tx, "MR-2026-000009"))
    assert caught.value.reason is Reason.NOT_FOUND
    assert "MR-2026-000009" in caught.value.sentence


def test_a_void_frees_the_usage_and_reverses_the_rounding(world: World) -> None:
    """After a void the ledger stands as before the invoice, the number stays used, and the next run issues anew."""
    world.serve_table("bolt  2026-11-02  qwen3-max  1000  0  251")
    accounts = ("receivable/bolt/CNY", "rounding/CNY", "revenue/CNY/qwen3-max")
    before = [world.balance(account) for account in accounts]
    (first,) = world.run("bolt")
    after = [world.balance(account) for account in accounts]
    voided = world.void(first.number)
    assert voided.void is not None
    assert voided.void.reason == "wrong address"
    assert voided.text == first.text
    assert [world.balance(account) for account in accounts] == before != after
    assert set(world.on().values()) == {None}
    (second,) = world.run("bolt")
    assert second.number == "MR-2026-000002"
    assert second.document.lines == first.document.lines
    assert [world.balance(account) for account in accounts] == after
    assert world.findings() == []


def test_a_void_happens_once(world: World) -> None:
    """Given again it answers as before; for another reason it is refused with when and why. Without a reason too."""
    world.serve_table("bolt  2026-11-02  tiny  1  0  1")
    (invoice,) = world.run("bolt")
    with pytest.raises(Refusal, match="say why"):
        world.void(invoice.id, " ")
    voided = world.void(invoice.id)
    transfers = world.db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM transfer"))
    assert world.void(invoice.number) == voided
    assert world.db.read(lambda tx: tx.rows("SELECT COUNT(*) FROM transfer")) == transfers
    with pytest.raises(Refusal) as caught:
        world.void(invoice.id, "again")
    assert caught.value.reason is Reason.CONFLICT
    assert caught.value.sentence == (
        "invoice MR-2026-000001 was voided at 2026-12-02T00:00:00.000000Z already: wrong address"
    )


def test_a_tenant_at_its_limit_is_rounded_down(world: World) -> None:
    """Where rounding up would break the credit limit it goes down, in the tenant's favour: issuing cannot fail."""
    world.price("dear", (None, "100", "100", "100"))
    world.serve("bolt", "2026-11-02", "dear", TokenCounts(999_950, 0, 0, 0))  # 99.995 of 100
    world.serve("bolt", "2026-11-03", "tiny", TokenCounts(9_999, 0, 0, 0))  # and 0.0049995: half a micro is left
    (invoice,) = world.run("bolt")
    assert invoice.document.due == parse_amount("100")
    world.void(invoice.id)
    world.write(lambda tx: tx.run("UPDATE account SET overdraft = 99999999600 WHERE id = 'receivable/bolt/CNY'"))
    (again,) = world.run("bolt")
    assert again.document.due == parse_amount("99.99")
    assert again.document.rounding == parse_amount("-0.0099995")
    assert world.findings() == []


def test_a_void_that_would_break_the_limit_is_refused_whole(world: World) -> None:
    """Taking back what was rounded down can need room that is gone; then nothing of the void is kept."""
    world.serve_table("bolt  2026-11-02  qwen3-max  1000  0  200")  # 0.0045, rounded down to nothing
    (invoice,) = world.run("bolt")
    assert invoice.document.due == 0
    world.write(lambda tx: tx.run("UPDATE account SET overdraft = 4000000 WHERE id = 'receivable/bolt/CNY'"))
    with pytest.raises(Refusal, match="higher limit or a payment"):
        world.void(invoice.id)
    assert world.db.read(lambda tx: invoices.show(tx, invoice.id)).void is None
    assert set(world.on().values()) == {invoice.id}
    assert world.findings() == []


def test_receipts_that_rounding_does_not_explain_stop_the_invoice(world: World) -> None:
    """A charge that its tokens do not come to is not papered over: nothing is issued, claimed or counted."""
    request = world.serve("bolt", "2026-11-02", "tiny", TokenCounts(1_000, 0, 1_000, 0))
    world.tamper("UPDATE usage SET amount = amount + 2")
    with pytest.raises(Refusal, match="rounding does not explain that"):
        world.run("bolt")
    assert world.on() == {request: None}
    assert world.db.read(invoices.all_invoices) == []


def test_an_invoice_is_never_changed_or_deleted(world: World) -> None:
    """The database itself refuses to touch an issued invoice, a void, or the invoice that a request is on."""
    world.serve_table("bolt  2026-11-02  tiny  1  0  1")
    (invoice,) = world.run("bolt")
    for statement in ("UPDATE invoice SET total = 0", "DELETE FROM invoice", "UPDATE usage SET invoice_id = 'inv_2'"):
        with pytest.raises(Conflict):
            world.write(lambda tx, sql=statement: tx.run(sql))  # type: ignore[misc]
    world.void(invoice.id)
    for statement in ("UPDATE invoice_void SET reason = 'no'", "DELETE FROM invoice_void"):
        with pytest.raises(Conflict):
            world.write(lambda tx, sql=statement: tx.run(sql))  # type: ignore[misc]


def test_amounts_beyond_64_bits_are_summed_exactly(world: World) -> None:
    """Two charges whose sum fits no integer of the database are added up to the last nano-unit."""
    world.price("gold", (None, "1000000", "0", "0"))
    for _ in range(2):
        world.serve("acme", "2026-11-02", "gold", TokenCounts(1, 0, 0, 0))
    world.tamper("UPDATE usage SET amount = 9223372036854775807, input = 9223372036, invoice_id = 'inv_x'")
    rows = world.db.read(lambda tx: invoices.usage_groups(tx, "inv_x"))
    assert [(row.requests, row.input, row.receipts) for row in rows] == [(2, 2 * 9223372036, 2 * (2**63 - 1))]


requests = st.tuples(
    st.sampled_from(("acme", "bolt", "coop")),
    st.sampled_from(("2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01")),
    st.sampled_from(("half", "qwen3-max")),
    st.integers(0, 40_000),
    st.integers(0, 300),
)
steps = st.one_of(requests, requests, st.sampled_from(("run november", "run december", "void")))


@settings(max_examples=30, deadline=None)
@given(st.lists(steps, max_size=30))
def test_whatever_is_served_run_and_voided_the_books_agree(story: list[object]) -> None:
    """In any order of requests, runs and voids, each request is on one valid invoice and the ledger says the same."""
    world = World()
    world.price("half", (None, "0.0005", "0.0003", "0.0007"))
    world.price("qwen3-max", (32_768, "2.5", "0.5", "10"), (131_072, "4", "0.8", "16"))
    world.grant("coop", "0.15")
    for step in (*story, "run december"):
        tell(world, step)
    valid = [invoice for invoice in world.db.read(invoices.all_invoices) if invoice.void is None]
    amounts, on = world.amounts(), world.on()
    for invoice in valid:
        receipts = sum(line.receipts for line in invoice.document.lines)
        assert receipts == sum(amounts[request] for request, found in on.items() if found == invoice.id)
    for model in ("half", "qwen3-max"):
        lines = itertools.chain.from_iterable(invoice.document.lines for invoice in valid)
        revenue = sum(line.amount for line in lines if line.model == model)
        assert world.balance(f"revenue/CNY/{model}") == revenue
    for tenant in ("bolt", "coop"):
        due = sum(invoice.document.due for invoice in valid if invoice.document.customer_id == tenant)
        assert world.balance(f"receivable/{tenant}/CNY") == -due
    assert world.balance("rounding/CNY") == sum(invoice.document.rounding for invoice in valid)
    assert world.findings() == []


def tell(world: World, step: object) -> None:
    match step:
        case "run november":
            for tenant in ("acme", "bolt", "coop"):
                world.run(tenant, now="2026-12-01")
        case "run december":
            for tenant in ("acme", "bolt", "coop"):
                world.run(tenant, DECEMBER, now="2027-01-01")
        case "void":
            valid = [invoice for invoice in world.db.read(invoices.all_invoices) if invoice.void is None]
            if valid:
                world.void(valid[-1].id)
        case (str(tenant), str(when), str(model), int(input_), int(output)):
            world.serve(tenant, when, model, TokenCounts(input_, input_ // 3, output, 0))
