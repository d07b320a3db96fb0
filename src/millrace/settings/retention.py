"""`[retention]` of millrace.toml: how long usage rows are kept, and where they are written to before they go."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from millrace.settings.table import Table

USAGE_DAYS_MAX: Final = 36_500
"""A hundred years: for ever is what the setting's absence says."""


class Retention(Struct, frozen=True, kw_only=True):
    """`[retention]`. Without `usage_days` every row is kept for ever, and files are only written when they are asked for."""

    usage_days: int | None = None
    folder: str = "exports"

    def place(self, home: Path) -> Path:
        """The folder for exports: in the home, unless it says where."""
        return home / Path(self.folder).expanduser()


def parse_retention(table: Table) -> Retention:
    """Raises BAD_SETTING."""
    retention = Retention(
        usage_days=table.optional_integer("usage_days", 1, USAGE_DAYS_MAX), folder=table.text("folder", Retention().folder)
    )
    table.finish()
    return retention
