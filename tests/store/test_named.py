"""Named SQL: each statement by its name, and no name twice."""

from pathlib import Path

import pytest

from millrace.store.named import Queries


@pytest.fixture
def queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The queries file of a room, which is a package that has the name of its folder."""
    room = tmp_path / f"room_of_{tmp_path.name}"
    room.mkdir()
    (room / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return room / "queries.sql"


def test_a_statement_is_called_by_its_name(queries: Path) -> None:
    """The text between two name lines, without its semicolon, in the file's order."""
    queries.write_text("-- What this room asks.\n-- name: one\nSELECT 1;\n\n-- name: two\nSELECT 2,\n  3;\n")
    named = Queries(queries.parent.name)
    assert named.names() == ("one", "two")
    assert (named["one"], named["two"]) == ("SELECT 1", "SELECT 2,\n  3")


def test_an_unknown_name_is_a_bug(queries: Path) -> None:
    """A name that is not in the file raises KeyError."""
    queries.write_text("-- name: one\nSELECT 1;\n")
    with pytest.raises(KeyError):
        Queries(queries.parent.name)["two"]


def test_a_doubled_name_is_a_bug(queries: Path) -> None:
    """Two statements of one name would silently be one; loading them raises ValueError."""
    queries.write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    with pytest.raises(ValueError, match="the name of another"):
        Queries(queries.parent.name)
