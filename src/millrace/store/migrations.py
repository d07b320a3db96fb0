"""Numbered SQL files, applied in order and once, each inside the transaction that records it: none can half-apply."""

import hashlib
import re
from importlib.resources import files
from typing import NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.store.transaction import Tx

_FILE = re.compile(r"(\d{4})_\w+\.sql")

_CREATE = """CREATE TABLE IF NOT EXISTS migration (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL
) STRICT"""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load(package: str) -> list[Migration]:
    """The migrations of a package's folder in order. A gap or a doubled number is a bug and raises ValueError."""
    found = sorted(entry.name for entry in files(package).iterdir() if _FILE.fullmatch(entry.name))
    loaded = [Migration(int(name[:4]), name, (files(package) / name).read_text(encoding="utf-8")) for name in found]
    if [migration.number for migration in loaded] != list(range(1, len(loaded) + 1)):
        raise ValueError(f"the migrations of {package} are not numbered 1, 2, 3, …: {found}")
    return loaded


def apply(tx: Tx, all_migrations: list[Migration]) -> int:
    """Apply what is missing inside the caller's transaction."""
    tx.run(_CREATE)
    applied = {number: (name, digest) for number, name, digest in tx.rows("SELECT number, name, sha256 FROM migration")}
    _refuse_strangers(applied, all_migrations)
    missing = [migration for migration in all_migrations if migration.number not in applied]
    for migration in missing:
        for statement in statements(migration.sql):
            tx.run(statement)
        tx.run(
            "INSERT INTO migration (number, name, sha256) VALUES (:number, :name, :sha256)",
            number=migration.number, name=migration.name, sha256=migration.sha256,
        )
    return len(missing)


def statements(sql: str) -> list[str]:
    """Split a file at semicolons that end a line, outside of trigger bodies (BEGIN … END;)."""
    parts: list[str] = []
    current: list[str] = []
    in_body = False
    for line in sql.splitlines():
        code = line.split("--", 1)[0].strip()
        if not code:
            continue
        current.append(line)
        if code.upper().endswith("BEGIN"):
            in_body = True
        if code.upper() == "END;":
            in_body = False
        if code.endswith(";") and not in_body:
            parts.append("\n".join(current))
            current = []
    if current:
        raise ValueError(f"a statement lacks its semicolon: {current[0]!r}")
    return parts


def _refuse_strangers(applied: dict[int, tuple[str, str]], known: list[Migration]) -> None:
    ours = {migration.number: migration for migration in known}
    for number, (name, digest) in applied.items():
        if number not in ours:
            raise Refusal(
                Reason.BAD_SETTING,
                f"the database was migrated by a newer Millrace (it has {name}); run that version or restore a backup",
            )
        if digest != ours[number].sha256:
            raise Refusal(
                Reason.BAD_SETTING,
                f"migration {name} of the database differs from this program's; run the version that made the database",
            )
