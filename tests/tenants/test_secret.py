"""A secret is strong, is one word, and does not show itself."""

import hashlib
import logging
import re

import pytest

from millrace.tenants.secret import LENGTH, PREFIX, Secret, new_secret, sha256_of


def test_a_secret_is_one_word_of_fixed_length() -> None:
    """`mr_` and 43 letters or digits, which hold 256 bits."""
    secret = new_secret()
    assert re.fullmatch(r"mr_[0-9A-Za-z]{43}", secret)
    assert len(secret) == LENGTH
    assert 62**43 > 2**256


def test_secrets_differ_in_every_place() -> None:
    """A hundred secrets are all different, and no place of them stands still but the first, which holds few bits."""
    made = [new_secret()[len(PREFIX) :] for _ in range(100)]
    assert len(set(made)) == 100
    assert all(len({text[place] for text in made}) > 20 for place in range(42))


def test_a_secret_is_kept_as_its_sha256() -> None:
    """What is stored is the hash of the whole text, prefix included."""
    assert sha256_of("mr_x") == hashlib.sha256(b"mr_x").hexdigest()


def test_a_secret_shows_itself_only_as_text(caplog: pytest.LogCaptureFixture) -> None:
    """Its repr, and with it every structure, log of values and traceback that holds it, is without it."""
    secret = new_secret()
    logging.getLogger("millrace").error("%r", {"key": secret})
    assert secret not in f"{secret!r} {[secret]} {(1, secret)!r} {caplog.text}"
    assert f"{secret}" == str(secret) == secret.removesuffix("")
    assert repr(Secret("mr_short")) == "<secret>"
