"""Backup and restore between a home's SQLite and PostgreSQL; what is one make's alone is in tests/cli/test_backup.py."""

from pathlib import Path

from tests.cli.conftest import Cli, acme, cli, template
from tests.cli.test_backup import archive
from tests.postgres import Server

__all__ = ["acme", "archive", "cli", "template"]


def test_a_home_moves_to_postgresql_and_back(
    acme: Cli, archive: Path, server: Server, tmp_path: Path
) -> None:
    """With another settings file the books go on in the other database: restored, used, backed up, restored again."""
    config = tmp_path / "cluster.toml"
    config.write_text(f'[store]\nurl = "{server.url(server.new_database())}"\n')
    cluster = Cli(tmp_path / "cluster")
    assert cluster.json("restore", str(archive), "--config", str(config))["audit"]["ok"] is True
    assert cluster.json("balance", "--tenant", "acme") == acme.json("balance", "--tenant", "acme")
    cluster.text("grant", "create", "--tenant", "acme", "--amount", "5.00")
    assert cluster.json("usage", "--tenant", "acme") == acme.json("usage", "--tenant", "acme")
    assert cluster.json("backup", str(tmp_path / "two.zip"), "--audit")["audit"]["ok"] is True
    back = Cli(tmp_path / "back")
    assert back.json("restore", str(tmp_path / "two.zip"), "--config", str(acme.home / "millrace.toml"))["audit"]["ok"] is True
    assert back.json("balance", "--tenant", "acme") == cluster.json("balance", "--tenant", "acme")
