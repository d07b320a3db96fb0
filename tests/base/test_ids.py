"""Identifiers name what they are, sort by time and survive a fixed-size record."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.base.clock import FakeClock
from millrace.base.ids import Entropy, Ids, id_bytes, id_from_bytes


@given(st.binary(min_size=16, max_size=16), st.sampled_from(["req", "ten", "a_b"]))
def test_sixteen_bytes_survive(raw: bytes, prefix: str) -> None:
    """Any 16 bytes become an identifier and come back the same."""
    assert id_bytes(id_from_bytes(prefix, raw)) == raw


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_the_texts_sort_like_the_bytes(one: bytes, other: bytes) -> None:
    """Identifiers of one prefix sort as their bytes do."""
    assert (id_from_bytes("x", one) < id_from_bytes("x", other)) == (one < other)


def test_a_later_identifier_sorts_later() -> None:
    """An identifier made a millisecond later is greater, whatever its random bits are."""
    clock = FakeClock()
    first = Ids(clock, lambda count: b"\xff" * count).new("req")
    clock.advance(0.001)
    assert first < Ids(clock, lambda count: b"\x00" * count).new("req")


@given(st.binary(min_size=10, max_size=10))
def test_the_layout_is_that_of_rfc_9562(entropy: bytes) -> None:
    """The bytes are a UUID of version 7: the milliseconds first, then version 7 and variant 2."""
    clock = FakeClock()
    raw = id_bytes(Ids(clock, lambda _: entropy).new("req"))
    assert int.from_bytes(raw[:6], "big") == clock.now() // 1_000_000
    assert (raw[6] >> 4, raw[8] >> 6) == (7, 2)


def test_the_random_bits_count() -> None:
    """Two identifiers of the same millisecond differ."""
    ids = Ids(FakeClock())
    assert len({ids.new("req") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "req_",
        "0" * 26,
        "_" + "0" * 26,
        "req_" + "0" * 25,
        "req_" + "0" * 27,
        "req_" + "0" * 25 + "u",
        "req_" + "0" * 25 + "O",
        "req_8" + "0" * 25,
    ],
)
def test_what_is_no_identifier_is_refused(text: str) -> None:
    """A missing prefix, a wrong length, a letter that is not of the alphabet and more than 128 bits are refused."""
    with pytest.raises(ValueError, match="is not an identifier"):
        id_bytes(text)


def test_only_sixteen_bytes_make_an_identifier() -> None:
    """Longer bytes are refused rather than cut."""
    with pytest.raises(ValueError, match="16 bytes"):
        id_from_bytes("req", b"\x01" * 17)


def test_random_bytes_are_given_out_once() -> None:
    """Also when more is asked for than was drawn, and by another size in between."""
    entropy = Entropy()
    drawn = [entropy(10) for _ in range(1_000)]
    assert len(set(drawn)) == 1_000
    assert {len(one) for one in drawn} == {10}
    assert len(entropy(16)) == 16
    assert entropy(10) not in drawn


def test_a_forked_process_draws_its_own() -> None:
    """What its parent had drawn and not yet given out is the parent's."""
    entropy = Entropy()
    entropy(10)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, entropy(10))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) != entropy(10)
    os.close(reading)
    os.close(writing)
