"""The client's key, and what stands for it in the database."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.money.idempotency.key import KEY_MAX, body_digest, key_digest, parse_key


@pytest.mark.parametrize("text", [b"a", b"order-4711", b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', b"!~", b"x" * KEY_MAX])
def test_visible_ascii_is_a_key(text: bytes) -> None:
    """What is allowed is taken as it is, quotes too."""
    assert parse_key(text) == text.decode()


@pytest.mark.parametrize("text", [b"", b"x" * (KEY_MAX + 1), b"two words", b"tab\there", "schlüssel".encode(), b"\x7f"])
def test_anything_else_is_refused_by_name(text: bytes) -> None:
    """The refusal names the header and what was expected, and does not repeat the text."""
    with pytest.raises(Refusal) as refused:
        parse_key(text)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert refused.value.param == "Idempotency-Key"
    assert "255 visible ASCII characters" in refused.value.sentence


def test_a_key_means_something_in_its_project_only() -> None:
    """The same text in another project or of another tenant is another key, however the parts are cut."""
    digests = {
        key_digest("ten_a", "proj_a", "k"), key_digest("ten_b", "proj_a", "k"), key_digest("ten_a", "proj_b", "k"),
        key_digest("ten_a", "proj_", "ak"), key_digest("ten_a", "proj_a", "K"),
    }  # fmt: skip
    assert len(digests) == 5
    assert key_digest("ten_a", "proj_a", "k") in digests
    assert not any("ten" in digest for digest in digests)


def test_a_body_is_the_same_when_route_and_every_byte_are() -> None:
    """A blank more, or another route, is another request."""
    digests = {
        body_digest("/v1/chat/completions", b"{}"), body_digest("/v1/chat/completions", b"{ }"),
        body_digest("/v1/completions", b"{}"), body_digest("/v1/completions", b""),
    }  # fmt: skip
    assert len(digests) == 4
    assert body_digest("/v1/completions", b"{}") in digests
