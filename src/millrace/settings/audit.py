"""`[audit]` of millrace.toml: when the server audits its books."""

import re
from typing import Final

from msgspec import Struct

from millrace.settings.table import Table

OFF: Final = "off"
DAILY_AT: Final = "03:00"

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class Audit(Struct, frozen=True, kw_only=True):
    """`[audit]`. With 'off' only `millrace audit` does."""

    daily_at: str = DAILY_AT

    @property
    def at_s(self) -> int | None:
        """Seconds after midnight UTC; None for never."""
        time = _TIME.fullmatch(self.daily_at)
        return None if time is None else int(time[1]) * 3600 + int(time[2]) * 60


def parse_audit(table: Table) -> Audit:
    """Raises BAD_SETTING for what is neither a time of day nor 'off'."""
    daily_at = table.text("daily_at", DAILY_AT)
    table.finish()
    if daily_at != OFF and _TIME.fullmatch(daily_at) is None:
        raise table.refusal("daily_at", f"a time of day in UTC such as {DAILY_AT!r}, or {OFF!r}", daily_at)
    return Audit(daily_at=daily_at)
