"""The canonical JSON of an invoice: one text for one document, and the document again from the text."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.money.invoices.world import NOVEMBER, at

from millrace.money.invoices.document import Document, Line, digest, parse_document, render_document
from millrace.money.rating.book import PriceTier

LINE = Line(
    month="2026-11", model="qwen3-max", price_id="qwen3-max/CNY/v2", tier=0,
    prices=PriceTier(32_768, 2_500_000_000, 500_000_000, 10_000_000_000),
    requests=2, input=33_768, cached_input=900, output=1_100, receipts=93_620_000, amount=93_620_000,
)  # fmt: skip

DOCUMENT = Document(
    id="inv_1", number="MR-2026-000001", issuer="Millrace", customer_id="ten_1", customer_name="阿里山 Tea & Söhne",
    currency="CNY", period=NOVEMBER, so_far=False, issued_at=at("2026-12-01T02:00:00.000001Z"), lines=(LINE,),
    subtotal=93_620_000, tax=0, rounding=-3_620_000, total=90_000_000, paid_from_grants=0, due=90_000_000,
)  # fmt: skip


def test_the_json_is_canonical() -> None:
    """Sorted keys, no blanks, decimal strings with nine places, RFC 3339 times, names as they are written."""
    assert render_document(DOCUMENT) == (
        '{"currency":"CNY","customer":{"id":"ten_1","name":"阿里山 Tea & Söhne"},"due":"0.090000000","id":"inv_1",'
        '"issued_at":"2026-12-01T02:00:00.000001Z","issuer":"Millrace","lines":[{"amount":"0.093620000",'
        '"model":"qwen3-max","month":"2026-11","price":"qwen3-max/CNY/v2","prices":{"cached_input":"0.500000000",'
        '"input":"2.500000000","output":"10.000000000"},"receipts":"0.093620000","requests":2,"tier":0,'
        '"tokens":{"cached_input":900,"input":33768,"output":1100},"up_to_input_tokens":32768}],'
        '"number":"MR-2026-000001","paid_from_grants":"0.000000000","period":{"from":"2026-11-01T00:00:00.000000Z",'
        '"name":"2026-11","to":"2026-12-01T00:00:00.000000Z"},"rounding":"-0.003620000","so_far":false,'
        '"subtotal":"0.093620000","tax":"0.000000000","total":"0.090000000"}'
    )


def test_the_hash_is_that_of_the_text() -> None:
    """Anybody can check a document with sha256sum."""
    assert digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest(render_document(DOCUMENT)) != digest(render_document(DOCUMENT).replace("0.09", "0.08"))


amounts = st.integers(-(10**30), 10**30)
tokens = st.integers(0, 10**20)
lines = st.builds(
    Line,
    month=st.just("2026-11"), model=st.text(), price_id=st.text(), tier=st.integers(0, 9),
    prices=st.builds(PriceTier, st.none() | tokens, amounts, amounts, amounts),
    requests=tokens, input=tokens, cached_input=tokens, output=tokens, receipts=amounts, amount=amounts,
)  # fmt: skip
documents = st.builds(
    Document,
    id=st.text(), number=st.text(), issuer=st.text(), customer_id=st.text(), customer_name=st.text(),
    currency=st.just("CNY"), period=st.just(NOVEMBER), so_far=st.booleans(),
    issued_at=st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds * 1000), lines=st.tuples(lines),
    subtotal=amounts, tax=amounts, rounding=amounts, total=amounts, paid_from_grants=amounts, due=amounts,
)  # fmt: skip


@settings(deadline=None)
@given(documents)
def test_a_document_comes_back_from_its_text(document: Document) -> None:
    """What is parsed is what was rendered, beyond 64 bits too; the text is plain JSON."""
    text = render_document(document)
    assert parse_document(text) == document
    assert render_document(parse_document(text)) == text
    json.loads(text)
