"""Numbered SQL files, applied in order and once, each inside the transaction that records it: none can half-apply."""

import hashlib
import re
from importlib.resources import files
from typing import NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.store.named import Statement
from millrace.store.transaction import Tx

_FILE = re.compile(r"(\d{4})_\w+\.sql")

_CREATE = Statement(
    "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL)",
)

_IS_THERE = Statement(
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'migration'",
    "SELECT count(*) FROM (SELECT to_regclass('migration') AS found) AS looked WHERE found IS NOT NULL",
)

_ALONE = Statement(
    "SELECT 1",  # SQLite has one writer at a time
    "SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock(7814207436)",
)
"""Servers that start together migrate one after the other; the later ones find nothing to do."""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load(package: str, folder: str = "") -> list[Migration]:
    """The migrations of a package, or of a folder in it, in order. A gap or a doubled number is a bug: ValueError."""
    place = files(package) / folder if folder else files(package)
    found = sorted(entry.name for entry in place.iterdir() if _FILE.fullmatch(entry.name))
    loaded = [Migration(int(name[:4]), name, (place / name).read_text(encoding="utf-8")) for name in found]
    if [migration.number for migration in loaded] != list(range(1, len(loaded) + 1)):
        raise ValueError(f"the migrations of {package}{folder and f'/{folder}'} are not numbered 1, 2, 3, …: {found}")
    return loaded


def apply(tx: Tx, all_migrations: list[Migration]) -> int:
    """Apply what is missing inside the caller's transaction."""
    tx.rows(_ALONE)
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


def schema_version(tx: Tx) -> int:
    """The number of the newest migration that the database has; 0 where it has none. Only reads."""
    if not tx.rows(_IS_THERE)[0][0]:
        return 0
    newest = tx.rows("SELECT max(number) FROM migration")[0][0]
    return newest or 0


def statements(sql: str) -> list[str]:
    """Split a file at semicolons that end a line, outside of bodies (BEGIN … END; of a trigger, $$ … $$ of a function)."""
    parts: list[str] = []
    current: list[str] = []
    in_body = quoted = False
    for line in sql.splitlines():
        code = line.split("--", 1)[0].strip()
        if not code:
            continue
        current.append(line)
        quoted ^= code.count("$$") % 2 == 1
        if not quoted and code.upper().endswith("BEGIN"):
            in_body = True
        if code.upper() == "END;":
            in_body = False
        if code.endswith(";") and not in_body and not quoted:
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
