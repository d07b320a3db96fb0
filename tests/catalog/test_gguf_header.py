"""A GGUF file's head is read exactly, and a damaged one is refused with a sentence, whatever is wrong with it."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.catalog.gguf import PAIRS, SOUND, TENSORS, Tensor, gguf, pair, text

from millrace.base.errors import Reason, Refusal
from millrace.catalog.gguf_header import GgufHeader, read_header


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def refusal_of(file: Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_header(file)
    assert caught.value.reason is Reason.BAD_SETTING
    assert str(file) in caught.value.sentence
    return caught.value


def test_a_sound_file_says_what_it_is(file: Path) -> None:
    """Architecture, context and name come from the metadata, the parameters from the tensors."""
    file.write_bytes(SOUND)
    assert read_header(file) == GgufHeader(
        architecture="llama", context_tokens=1024, parameters=64 * 3 + 64 * 4, name="A Small Model"
    )


def test_version_two_and_another_alignment_are_read(file: Path) -> None:
    """Older files, and files with an alignment of their own, are as good."""
    file.write_bytes(gguf((*PAIRS, pair("general.alignment", 64)), TENSORS, version=2, alignment=64))
    assert read_header(file).parameters == 448


def test_a_name_is_not_needed(file: Path) -> None:
    """A file without general.name is usable."""
    file.write_bytes(gguf([PAIRS[0], PAIRS[2]], TENSORS))
    assert read_header(file).name is None


def test_a_missing_file_is_refused(file: Path) -> None:
    """The sentence names the file and the reason."""
    assert "No such file" in refusal_of(file).sentence


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not begin as a GGUF file"),
        (b"<html>404</html>", "does not begin as a GGUF file"),
        (b"GGUF", "ends within its header"),
        (gguf(PAIRS, TENSORS, version=1), "format version is 1"),
        (gguf(PAIRS, TENSORS, version=0x03000000), "format version"),
        (SOUND[:-1], "cut short"),
        (SOUND[:-400], "cut short"),
        (gguf(PAIRS[1:], TENSORS), "does not name its architecture"),
        (gguf(PAIRS[:2], TENSORS), "does not say its context length"),
        (gguf([PAIRS[0], pair("llama.context_length", "long")], TENSORS), "does not say its context length"),
        (gguf([PAIRS[0], pair("llama.context_length", 0)], TENSORS), "does not say its context length"),
        (gguf([*PAIRS, pair("general.alignment", 0)], TENSORS), "its alignment is 0"),
        (gguf([text("k") + struct.pack("<I", 99)]), "unknown type 99"),
        (gguf([text("k") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1) * 9]), "unknown type 9"),
        (gguf([text("k") + struct.pack("<IIQ", 9, 4, 2**63)]), "array items"),
        (gguf([text("k") + struct.pack("<IIQ", 9, 4, 1_000_000)]), "ends within its header"),
        (gguf([text("k") + struct.pack("<IQ", 8, 2**40)]), "bytes of text"),
        (gguf([struct.pack("<Q", 2) + b"\xff\xfe"]), "not UTF-8"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**64 - 1), "metadata entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 0), "tensors"),
        (gguf(PAIRS, [Tensor("t", (1,) * 9, 0, 4)]), "9 dimensions"),
        (gguf(PAIRS, [Tensor("t", (2**40, 2**40), 0, 4)]), "cut short"),
    ],
)
def test_a_damaged_file_is_refused(file: Path, content: bytes, says: str) -> None:
    """Each kind of damage has its own words; no length in the file is believed before it is bounded."""
    file.write_bytes(content)
    assert says in refusal_of(file).sentence


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(SOUND) - 1))
def test_a_file_that_was_cut_anywhere_is_refused(file: Path, cut: int) -> None:
    """A download that stopped at any byte is noticed."""
    file.write_bytes(SOUND[:cut])
    refusal_of(file)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(SOUND) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(file: Path, at: int, byte: int) -> None:
    """One wrong byte anywhere gives a header or a refusal, never another exception."""
    file.write_bytes(SOUND[:at] + bytes([byte]) + SOUND[at + 1 :])
    with contextlib.suppress(Refusal):
        assert read_header(file).context_tokens > 0
