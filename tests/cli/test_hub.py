"""`millrace hub` and `millrace model push` on a home, without a server."""

import hashlib
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from millrace.base.clock import SystemClock
from millrace.base.ids import Ids
from millrace.catalog.published.depot import Depot
from millrace.catalog.published.values import Visibility
from millrace.catalog.weights.values import StoredFile
from millrace.tenants import store as tenants

CARD = b"# a card"


@pytest.fixture
def published(acme: Cli) -> Cli:
    """With acme/shop, which is private and has one file."""
    clock = SystemClock()
    file = StoredFile(path="README.md", sha256=hashlib.sha256(CARD).hexdigest(), size=len(CARD))
    with closing(acme.database()) as db:
        depot = Depot(db, acme.home / "hub", Ids(clock), clock, 1000)
        owner = db.read(lambda tx: tenants.tenant_named(tx, "acme"))
        depot.make(owner, "acme", "shop", Visibility.PRIVATE)
        with depot.receive(owner, file.sha256, file.size, 0) as incoming:
            incoming.write(CARD)
            incoming.finish()
        depot.commit(owner, "acme", "shop", files=[file], parent=None, message="")
    return acme


def test_the_operator_sees_and_changes_what_is_published(published: Cli) -> None:
    """Private ones too; a change shows at once; what is removed takes its contents along."""
    (listed,) = published.json("hub", "list")["models"]
    assert (listed["id"], listed["private"], listed["usedStorage"]) == ("acme/shop", True, len(CARD))
    assert published.json("hub", "list", "--search", "other")["models"] == []
    shown = published.json("hub", "show", "acme/shop")
    assert [one["rfilename"] for one in shown["siblings"]] == ["README.md"]
    assert "README.md" in published.text("hub", "show", "acme/shop")
    assert published.text("hub", "visibility", "acme/shop", "public") == "acme/shop is public\n"
    assert published.json("hub", "list")["models"][0]["private"] is False
    assert published.json("hub", "remove", "acme/shop") == {"id": "acme/shop", "removed": True}
    assert published.json("hub", "list")["models"] == []
    assert list((published.home / "hub" / "blobs").iterdir()) == []


def test_a_name_that_is_none_is_refused(published: Cli) -> None:
    """The sentence says what there is, or what a name looks like."""
    for verb in (["show"], ["remove"]):
        assert "millrace hub list" in published.refused("hub", *verb, "acme/none")
        assert "is not OWNER/NAME" in published.refused("hub", *verb, "acme")


def test_a_restore_says_which_contents_are_missing(published: Cli, tmp_path: Path) -> None:
    """The backup has the list of files and not what is in them; whoever restores is told so."""
    published.text("backup", str(tmp_path / "one.zip"))
    restored = Cli(tmp_path / "restored")
    result = restored.run("restore", str(tmp_path / "one.zip"))
    assert result.exit_code == 0
    assert "1 files of published models (8 bytes) are not in backups: copy hub/blobs" in result.stderr
    again = Cli(tmp_path / "again").json("restore", str(tmp_path / "one.zip"))
    assert again["hub_missing"] == {"files": 1, "bytes": 8}


def test_what_cannot_be_pushed_is_refused_before_anything_is_read(cli: Cli, tmp_path: Path) -> None:
    """No such place, no name, a pickle, no key."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.bin").write_bytes(b"x")
    assert "no folder, file or pulled model" in cli.refused("model", "push", str(tmp_path / "none"), "acme/m")
    assert "is not OWNER/NAME" in cli.refused("model", "push", str(tmp_path / "m"), "acme")
    assert "run code when they are loaded" in cli.refused("model", "push", str(tmp_path / "m"), "acme/m")
