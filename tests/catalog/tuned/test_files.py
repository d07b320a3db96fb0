"""The adapters' folder."""

import hashlib
from pathlib import Path

from millrace.catalog.tuned.files import FRESH_S, AdapterFiles


def add(home: Path, content: bytes) -> str:
    source = home / "made.gguf"
    source.write_bytes(content)
    return AdapterFiles(home).add(source)


def test_a_file_is_called_by_its_content(tmp_path: Path) -> None:
    """Twice the same is one file; its maker's own stays where it was."""
    sha256 = add(tmp_path, b"adapter")
    assert sha256 == hashlib.sha256(b"adapter").hexdigest() == add(tmp_path, b"adapter")
    files = AdapterFiles(tmp_path)
    assert files.path(sha256).read_bytes() == b"adapter"
    assert files.all() == [files.path(sha256)]
    assert (tmp_path / "made.gguf").exists()


def test_what_nobody_needs_goes_when_it_is_old(tmp_path: Path) -> None:
    """A fresh file may be published in a moment; an old one without a model goes, one with a model stays."""
    needed, lost = add(tmp_path, b"needed"), add(tmp_path, b"lost")
    files = AdapterFiles(tmp_path)
    made = files.path(lost).stat().st_mtime
    assert files.sweep(frozenset({needed}), made + FRESH_S - 1) == []
    assert files.sweep(frozenset({needed}), made + FRESH_S + 1) == [lost]
    assert files.all() == [files.path(needed)]


def test_a_copy_that_was_cut_short_is_no_adapter(tmp_path: Path) -> None:
    """It is not listed, and goes like what nobody needs."""
    files = AdapterFiles(tmp_path)
    files.folder.mkdir()
    half = files.folder / ".77-made.gguf"
    half.write_bytes(b"hal")
    assert files.all() == []
    files.sweep(frozenset(), half.stat().st_mtime + FRESH_S + 1)
    assert not half.exists()


def test_there_need_be_no_folder(tmp_path: Path) -> None:
    """A home without tuned models has none."""
    assert AdapterFiles(tmp_path).all() == []
    assert AdapterFiles(tmp_path).sweep(frozenset(), 0.0) == []
