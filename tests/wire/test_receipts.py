"""Receipt, balance and usage as JSON."""

from typing import Any

import msgspec
import pytest

from millrace.base.clock import NS_PER_S
from millrace.generation.chunk import TokenCounts
from millrace.wire.json_body import encode
from millrace.wire.receipts import (
    ReceiptForm,
    UsageBy,
    UsageForm,
    balance_form,
    receipt_form,
    usage_form,
    usage_row_form,
)

NOON = 1_795_348_800 * NS_PER_S  # 2026-11-22T12:00:00Z
TOKENS = TokenCounts(input=100, cached_input=64, output=20, reasoning=5)
TOKENS_JSON = b'"tokens":{"input":100,"cached_input":64,"output":20,"reasoning":5,"waived":2}'


def a_receipt() -> ReceiptForm:
    return receipt_form(
        request_id="req_1",
        model="qwen3-8b",
        status="cancelled",
        counted_by="engine",
        price="price_1",
        amount_nano=68_800,
        currency="CNY",
        started_at=NOON,
        finished_at=NOON + 1_234_567_891,
        tokens=TOKENS,
        waived=2,
    )


def test_a_receipt() -> None:
    """Every key of the contract in its order: amounts with nine places, instants in UTC, tokens by class."""
    assert encode(a_receipt()) == (
        b'{"request_id":"req_1","model":"qwen3-8b","status":"cancelled","counted_by":"engine","price":"price_1",'
        b'"amount":"0.000068800","currency":"CNY","started_at":"2026-11-22T12:00:00.000000Z",'
        b'"finished_at":"2026-11-22T12:00:01.234567Z",' + TOKENS_JSON + b"}"
    )


def test_a_client_reads_what_was_written() -> None:
    """The forms decode into themselves, `from` and `to` included."""
    assert msgspec.json.decode(encode(a_receipt()), type=ReceiptForm) == a_receipt()
    report = usage_form(tenant="ten_1", start=NOON, end=NOON, rows=[])
    assert msgspec.json.decode(encode(report), type=UsageForm) == report


def test_a_balance() -> None:
    """A balance may be negative, and what is available is what the books say."""
    assert encode(
        balance_form(
            tenant="ten_1", currency="USD", balance_nano=-5, held_nano=10_000_000_000, available_nano=1_500_000_000
        )
    ) == (
        b'{"tenant":"ten_1","currency":"USD","balance":"-0.000000005","held":"10.000000000",'
        b'"available":"1.500000000"}'
    )


@pytest.mark.parametrize(("by", "name"), [("model", "qwen3-8b"), ("day", "2026-11-22"), ("key", "key_1")])
def test_a_usage_row_is_named_by_what_the_report_is_by(by: UsageBy, name: str) -> None:
    """A line has exactly one of model, day and key."""
    row = usage_row_form(by, name, requests=3, tokens=TOKENS, waived=2, amount_nano=1, currency="CNY")
    assert encode(row) == (
        f'{{"{by}":"{name}","requests":3,'.encode() + TOKENS_JSON + b',"amount":"0.000000001","currency":"CNY"}'
    )


def test_a_usage_report() -> None:
    """The span is half-open, said as two instants, and lines keep their order."""
    rows = [
        usage_row_form("key", name, requests=1, tokens=TOKENS, amount_nano=0, currency="CNY") for name in ("b", "a")
    ]
    report: dict[str, Any] = msgspec.json.decode(encode(usage_form(tenant="t", start=0, end=NOON, rows=rows)))
    assert list(report) == ["tenant", "from", "to", "rows"]
    assert (report["from"], report["to"]) == ("1970-01-01T00:00:00.000000Z", "2026-11-22T12:00:00.000000Z")
    assert [row["key"] for row in report["rows"]] == ["b", "a"]
