"""`[hub]` of millrace.toml: whether tenants may publish models here, and how much."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from millrace.settings.table import Table

GB: Final = 1_000_000_000

QUOTA_MAX: Final = 10**18
"""A thousand petabytes; what lies above is a typing error."""

TRANSFERS_MAX: Final = 10_000

FOLDER: Final = "hub"


class Hub(Struct, frozen=True, kw_only=True):
    """`[hub]`."""

    enabled: bool = True
    folder: str = FOLDER
    quota_bytes: int = 50 * GB
    """Of each tenant: three models of eight billion parameters in 16 bits."""
    transfers_max: int = 64
    """Files that one process sends or takes at once: enough for any line, and they leave the rest to inference."""

    def place(self, home: Path) -> Path:
        """Where the contents lie: in the home, unless it says where."""
        return home / Path(self.folder).expanduser()


def parse_hub(table: Table) -> Hub:
    """Raises BAD_SETTING."""
    default = Hub()
    hub = Hub(
        enabled=table.flag("enabled", default=default.enabled), folder=table.text("folder", default.folder),
        quota_bytes=table.integer("quota_bytes", 0, QUOTA_MAX, default.quota_bytes),
        transfers_max=table.integer("transfers_max", 1, TRANSFERS_MAX, default.transfers_max),
    )  # fmt: skip
    table.finish()
    return hub
