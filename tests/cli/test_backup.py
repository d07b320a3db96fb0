"""`millrace backup` and `millrace restore`."""

import zipfile
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from millrace.archive.manifest import NAME
from millrace.store.sqlite_database import SqliteDatabase
from millrace.store.tables import pages, tables


def everything(home: Path) -> dict[str, list[object]]:
    """Every row of every table of a home."""
    db = SqliteDatabase(home / "millrace.db")
    try:
        return db.read(lambda tx: {one.name: [row for page in pages(tx, one) for row in page] for one in tables(tx)})
    finally:
        db.close()


@pytest.fixture
def archive(acme: Cli, tmp_path: Path) -> Path:
    """A backup of a home in which acme made two requests, one of them invoiced."""
    acme.serve("acme")
    acme.text("invoice", "run", "--period", acme.json("receipt", acme.serve("acme"))["finished_at"][:7])
    file = tmp_path / "one.zip"
    acme.text("backup", str(file))
    return file


def test_a_restored_home_has_every_row(acme: Cli, archive: Path, tmp_path: Path) -> None:
    """All rows of all tables and the settings come back as they were, and the audit agrees."""
    restored = Cli(tmp_path / "restored")
    form = restored.json("restore", str(archive))
    assert form["audit"]["ok"] is True
    assert everything(restored.home) == everything(acme.home)
    assert form["rows"] == sum(map(len, everything(acme.home).values())) > 20
    assert (restored.home / "millrace.toml").read_bytes() == (acme.home / "millrace.toml").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_restored_home_goes_on(archive: Path, tmp_path: Path) -> None:
    """New requests are billed behind the restored ones, and another backup of it is as good."""
    restored = Cli(tmp_path / "restored")
    restored.text("restore", str(archive))
    restored.serve("acme")
    assert restored.json("audit")["ok"] is True
    assert restored.json("backup", str(tmp_path / "two.zip"), "--audit")["tables"]["usage"] == 3


def test_the_journal_comes_along(acme: Cli, tmp_path: Path) -> None:
    """Segments of the progress journal are in the backup, and in the restored home byte by byte."""
    (acme.home / "journal").mkdir()
    (acme.home / "journal" / "00000007-000001.journal").write_bytes(b"x" * 100)
    form = acme.json("backup", str(tmp_path / "one.zip"))
    assert form["files"] == ["millrace.toml", "journal/00000007-000001.journal"]
    Cli(tmp_path / "restored").text("restore", str(tmp_path / "one.zip"))
    assert (tmp_path / "restored" / "journal" / "00000007-000001.journal").read_bytes() == b"x" * 100


def test_into_a_folder_a_backup_is_named_by_its_time(acme: Cli, tmp_path: Path) -> None:
    """A folder gets a file of the moment; nothing but that file is left in it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    form = acme.json("backup", str(folder))
    (file,) = folder.iterdir()
    stamp = form["made_at"][:19].replace("-", "").replace(":", "")
    assert (str(file), file.name) == (form["file"], f"millrace-{stamp}Z.zip")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_backup_replaces_no_file(acme: Cli, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    file = tmp_path / "one.zip"
    file.write_text("mine")
    assert acme.refused("backup", str(file)) == f"{file} exists already; name another file"
    assert file.read_text() == "mine"


def test_a_folder_that_is_not_there_is_said(acme: Cli, tmp_path: Path) -> None:
    """The sentence names the file that cannot be written."""
    assert "nowhere/one.zip cannot be written (No such file" in acme.refused("backup", str(tmp_path / "nowhere" / "one.zip"))


def test_restore_refuses_what_is_not_empty(acme: Cli, archive: Path) -> None:
    """A home with anything in it is left alone."""
    before = everything(acme.home)
    assert acme.refused("restore", str(archive)) == f"{acme.home} is not empty; name a new folder with --home"
    assert everything(acme.home) == before


def test_restore_refuses_a_database_with_rows(acme: Cli, archive: Path, tmp_path: Path) -> None:
    """Settings that name another home's database do not get a second cloud's rows into it."""
    config = tmp_path / "other.toml"
    config.write_text((acme.home / "millrace.toml").read_text() + f'[store]\nurl = "sqlite:///{acme.home}/millrace.db"\n')
    restored = Cli(tmp_path / "restored")
    assert "has rows already" in restored.refused("restore", str(archive), "--config", str(config))
    assert not restored.home.exists()
    assert acme.json("audit")["ok"] is True


def test_another_settings_file_takes_the_place_of_the_archive_s(archive: Path, tmp_path: Path) -> None:
    """With --config the restored home has those settings and the database that they name."""
    config = tmp_path / "other.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/elsewhere.db"\n')
    restored = Cli(tmp_path / "restored")
    restored.text("restore", str(archive), "--config", str(config))
    assert (restored.home / "millrace.toml").read_text() == config.read_text()
    assert (tmp_path / "elsewhere.db").is_file()
    assert restored.json("audit")["ok"] is True


@pytest.mark.parametrize("member", ["tables/usage.jsonl", "tables/tenant.jsonl", "files/millrace.toml", NAME])
def test_a_damaged_archive_is_refused(archive: Path, tmp_path: Path, member: str) -> None:
    """One byte of a part that changed, and nothing is restored."""
    with zipfile.ZipFile(archive) as whole:
        part = whole.getinfo(member)
    raw = bytearray(archive.read_bytes())
    raw[part.header_offset + 30 + len(member) + part.compress_size // 2] ^= 0x55
    archive.write_bytes(raw)
    restored = Cli(tmp_path / "restored")
    assert "is damaged or no backup" in restored.refused("restore", str(archive))
    assert [path for path in tmp_path.iterdir() if "restor" in path.name] == []


def test_a_row_that_was_changed_is_found(archive: Path, tmp_path: Path) -> None:
    """A part that is not what its manifest says is refused, though the ZIP file itself is whole."""
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"acme"', b'"evil"') if name != NAME else old.read(name))
    refused = Cli(tmp_path / "restored").refused("restore", str(other))
    assert "tables/tenant.jsonl is not what its manifest says" in refused


def test_half_an_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    """A file that ends in the middle, as after a full disk, is no backup."""
    half = tmp_path / "half.zip"
    half.write_bytes(archive.read_bytes()[:2000])
    assert f"{half} is damaged or no backup" in Cli(tmp_path / "restored").refused("restore", str(half))


def test_a_newer_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    """Tables of a schema that this program does not know are not guessed at."""
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            manifest = old.read(name).replace(b'"schema": ', b'"schema": 9')
            new.writestr(name, manifest if name == NAME else old.read(name))
    assert "was made by a newer Millrace" in Cli(tmp_path / "restored").refused("restore", str(other))
    assert not (tmp_path / "restored").exists()


def test_restore_wants_a_home_by_name(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A restore into a home that nobody named would be an accident."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "restored"))
    from typer.testing import CliRunner

    from millrace.cli.main import app

    result = CliRunner().invoke(app, ["restore", str(archive)])
    assert (result.exit_code, result.stderr) == (1, "millrace: name the new home with --home\n")


def test_the_restore_that_was_killed_is_in_nobody_s_way(archive: Path, tmp_path: Path) -> None:
    """What a killed restore left beside the home is cleared by the next one."""
    left = tmp_path / ".restored.restoring"
    (left / "journal").mkdir(parents=True)
    (left / "journal" / "00000001-000001.journal").write_bytes(b"half")
    (left / "millrace.db").write_bytes(b"half")
    restored = Cli(tmp_path / "restored")
    assert restored.json("restore", str(archive))["audit"]["ok"] is True
    assert not left.exists()
    assert not (restored.home / "journal").exists()
