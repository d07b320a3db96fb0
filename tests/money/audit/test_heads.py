"""Chain heads as a text that can be noted anywhere."""

from millrace.money.audit.heads import parse_heads, render_heads
from millrace.money.ledger.chain import Chain

HEADS = [Chain(1, 4711, bytes(range(32))), Chain(2, 3, bytes(31) + b"\x01")]


def test_a_head_comes_back_from_any_text() -> None:
    """Out of a log, of JSON, of a letter: each head that stands there, and nothing that only looks like one."""
    one, other = render_heads(HEADS).split(",")
    assert one == "1:4711:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    for text in (
        f"2026-11-23 INFO audit ok=1 rows=7 heads={one},{other}", f'{{"heads": ["{one}", "{other}"]}}', f"{one}\n{other}\n",
    ):
        assert parse_heads(text) == HEADS
    assert parse_heads(f"12:34:56 1:2:abc {one}f {one[2:]}") == []
