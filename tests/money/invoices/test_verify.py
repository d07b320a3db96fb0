"""An audit of invoices finds what was done to them, and nothing else."""

import pytest
from msgspec.structs import replace
from tests.money.invoices.world import World

from millrace.base.money import minor_unit
from millrace.money.invoices.document import digest, render_document
from millrace.money.invoices.verify import verify

CENT = minor_unit("CNY")

ISSUED = "invoices are as they were issued"
TOTAL = "invoice lines, tax and rounding are the total"
USAGE = "invoice lines are the sums of their usage"
ONCE = "usage is on one valid invoice or on none"
LEDGER = "invoice transfers are in the ledger"
NUMBERS = "invoice numbers have no gaps"


@pytest.fixture
def busy(world: World) -> World:
    """Three tenants with an invoice each, of which bolt's was voided and issued again."""
    world.serve_table("""
        acme  2026-11-02  tiny       333    0  333
        bolt  2026-11-02  qwen3-max  1000  10  251
        bolt  2026-11-03  tiny       333    0  333
        coop  2026-11-02  qwen3-max  1000   0  200
    """)
    for tenant in ("acme", "bolt", "coop"):
        world.run(tenant)
    world.void("MR-2026-000002")
    world.run("bolt")
    return world


def forge(world: World, invoice_id: str, text: str, total: int) -> None:
    """Put a document in an invoice's place, with the hash and the total that go with it."""
    world.tamper(
        f"UPDATE invoice SET document = '{text}', sha256 = '{digest(text)}', total = {total} WHERE id = '{invoice_id}'"  # noqa: S608
    )


def findings(world: World) -> dict[str, tuple[str, ...]]:
    return {check.name: check.findings for check in verify(world.db.read) if check.findings}


def test_sound_books_have_no_findings(busy: World) -> None:
    """All checks are made, say how much they looked at, and find nothing."""
    assert [(check.name, check.checked, check.findings) for check in verify(busy.db.read)] == [
        (ISSUED, 4, ()), (TOTAL, 4, ()), (USAGE, 3, ()), (ONCE, 4, ()), (LEDGER, 4, ()), (NUMBERS, 4, ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE invoice SET document = replace(document, 'Bolt', 'Dolt')"], {ISSUED}),
        (["UPDATE invoice SET total = total + 1 WHERE tenant_id = 'bolt'"], {ISSUED}),
        (["UPDATE invoice SET period = '2026-10' WHERE tenant_id = 'bolt'"], {ISSUED}),
        (["UPDATE usage SET output = output + 1 WHERE tenant_id = 'bolt'"], {USAGE}),
        (["UPDATE usage SET amount = amount + 1 WHERE tenant_id = 'coop'"], {USAGE}),
        (["UPDATE usage SET tier = 1 WHERE model = 'qwen3-max' AND tenant_id = 'coop'"], {USAGE}),
        (["UPDATE usage SET finished_at = finished_at - 86400000000000 * 30 WHERE tenant_id = 'coop'"], {USAGE}),
        (["UPDATE usage SET invoice_id = NULL WHERE tenant_id = 'coop'"], {USAGE}),
        (["UPDATE usage SET invoice_id = 'inv_x' WHERE tenant_id = 'coop'"], {USAGE, ONCE}),
        (["UPDATE usage SET tenant_id = 'acme' WHERE tenant_id = 'coop'"], {ONCE}),
        (["UPDATE usage SET currency = 'USD' WHERE tenant_id = 'coop'"], {ONCE}),
        (["DELETE FROM invoice_void"], {USAGE, LEDGER}),
        (["UPDATE transfer SET amount = amount + 1 WHERE credit_account LIKE 'rounding%'"], {LEDGER}),
        (["DELETE FROM transfer WHERE id LIKE 'inv%'"], {LEDGER}),
        (["UPDATE transfer SET amount = 1 WHERE kind = 'post' AND debit_account LIKE 'receivable/coop%'"], {USAGE}),
        (["UPDATE counter SET value = value + 1"], {NUMBERS}),
        (["UPDATE counter SET value = value - 1"], {NUMBERS}),
        (["DELETE FROM counter"], {NUMBERS}),
    ],
)
def test_what_was_done_to_the_rows_is_found(busy: World, statements: list[str], found: set[str]) -> None:
    """Each change that the triggers would have refused is found by the check that it concerns, and by no other."""
    busy.tamper(*statements)
    assert set(findings(busy)) == found


def test_a_forged_document_with_a_fitting_hash_is_found(busy: World) -> None:
    """Who changes document, hash and total alike still has the usage and the ledger against him."""
    (invoice,) = busy.run("bolt")
    true = invoice.document
    for forged, found in (
        (replace(true, due=2 * true.due), {TOTAL, LEDGER}),
        (replace(true, tax=1), {TOTAL}),
        (replace(true, subtotal=true.subtotal + 1), {TOTAL}),
        (replace(true, rounding=true.rounding + 1, total=true.total + 1, due=true.due + 1), {TOTAL, LEDGER}),
        (replace(true, rounding=true.rounding + 2 * CENT, total=true.total + 2 * CENT, due=3 * CENT), {TOTAL, LEDGER}),
        (replace(true, lines=(replace(true.lines[0], requests=9), *true.lines[1:])), {USAGE}),
        (replace(true, paid_from_grants=1, due=true.due - 1), {TOTAL, USAGE}),
    ):
        forge(busy, invoice.id, render_document(forged), forged.total)
        assert set(findings(busy)) == found, forged


def test_a_document_in_another_form_is_found(busy: World) -> None:
    """The same content with other blanks is not the text that was issued, whatever its hash."""
    (invoice,) = busy.run("bolt")
    forge(busy, invoice.id, invoice.text.replace(",", ", "), invoice.document.total)
    assert findings(busy)[ISSUED] == ("MR-2026-000004: the document is not in its canonical form",)


def test_a_finding_names_the_invoice_and_both_sides(busy: World) -> None:
    """The sentence says which line of which invoice disagrees, and what each side says."""
    busy.tamper("UPDATE usage SET output = 252 WHERE tenant_id = 'bolt' AND model = 'qwen3-max'")
    (sentence,) = findings(busy)[USAGE]
    assert sentence.startswith("MR-2026-000004: ")
    busy.tamper("UPDATE usage SET amount = amount + 10000 WHERE tenant_id = 'bolt' AND model = 'qwen3-max'")
    (sentence,) = findings(busy)[USAGE]
    assert sentence == (
        "MR-2026-000004: the line of 2026-11, qwen3-max at qwen3-max/CNY/v1, tier 0 says 1 requests, "
        "1000 + 251 tokens, 0.004990000, its usage 1 requests, 1000 + 252 tokens, 0.005000000"
    )
