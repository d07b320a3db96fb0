"""A download under way, on disk: what a kill, a power cut and another file do to it."""

from pathlib import Path

import pytest

from millrace.base.errors import Refusal
from millrace.catalog.hub.partial import About, Partial, discard_unfinished, held_bytes, unfinished
from millrace.catalog.hub.ranges import RECORD_BYTES, Range
from millrace.catalog.weights.durable import try_lock

ABOUT = About(source="hf:acme/model", path="m.gguf", size=100, sha256="a" * 64)


def begun(folder: Path, about: About = ABOUT) -> Partial:
    """With the bytes 10 to 20 and 30 to 40."""
    partial = Partial(folder, "key")
    partial.open(about)
    partial.write(30, b"x" * 10)
    partial.write(10, b"y" * 10)
    partial.close()
    return partial


def reopened(folder: Path, about: About = ABOUT) -> tuple[Range, ...]:
    with Partial(folder, "key") as partial:
        partial.open(about)
        return partial.done


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """A process that is killed right after a write loses nothing."""
    begun(tmp_path)
    assert reopened(tmp_path) == (Range(10, 20), Range(30, 40))
    assert held_bytes(tmp_path, "key", 100) == 20


def test_bytes_that_a_power_cut_took_are_fetched_again(tmp_path: Path) -> None:
    """A record whose bytes are others is dropped, for good; the other stays."""
    partial = begun(tmp_path)
    content = bytearray(partial.data.read_bytes())
    content[35] ^= 1
    partial.data.write_bytes(content)
    assert reopened(tmp_path) == (Range(10, 20),)
    content[35] ^= 1
    partial.data.write_bytes(content)
    assert reopened(tmp_path) == (Range(10, 20),)


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    """The log ends where it was torn, and is whole again for what comes next."""
    begun(tmp_path)
    log = tmp_path / "key.part/log"
    log.write_bytes(log.read_bytes()[:-1])
    with Partial(tmp_path, "key") as partial:
        partial.open(ABOUT)
        assert partial.done == (Range(30, 40),)
        partial.write(40, b"z")
    assert log.stat().st_size == 2 * RECORD_BYTES
    assert reopened(tmp_path) == (Range(30, 41),)


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (About(source="ms:acme/model", path="n.gguf", size=100, sha256="a" * 64), True),
        (About(source="hf:acme/model", path="m.gguf", size=100, sha256="b" * 64), False),
        (About(source="hf:acme/model", path="m.gguf", size=101, sha256="a" * 64), False),
        (About(source="hf:acme/model", path="m.gguf", size=100, validator='"etag"'), False),
    ],
)
def test_only_the_same_content_is_taken_up(tmp_path: Path, other: About, kept: bool) -> None:
    """By hash wherever it comes from; another hash, size or ETag begins anew."""
    begun(tmp_path)
    assert (reopened(tmp_path, other) != ()) is kept


def test_unfinished_ones_are_listed_and_dropped(tmp_path: Path) -> None:
    """With how much of them is here; one that is being fetched stays."""
    begun(tmp_path)
    (one,) = unfinished(tmp_path)
    assert (one.source, one.path, one.size, one.held) == ("hf:acme/model", "m.gguf", 100, 20)
    assert discard_unfinished(tmp_path, "hf:other/model") == 0
    lock = try_lock(tmp_path / "key.lock")
    assert lock is not None
    with pytest.raises(Refusal, match="is being pulled by another command"):
        discard_unfinished(tmp_path, "hf:acme/model")
    (tmp_path / "key.lock").unlink()
    assert discard_unfinished(tmp_path, "hf:acme/model") == 1
    assert list(tmp_path.iterdir()) == []
