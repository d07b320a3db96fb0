"""`[audit]` of millrace.toml."""

import pytest

from millrace.base.errors import Refusal
from millrace.settings.audit import Audit, parse_audit
from millrace.settings.table import Table


def parsed(**values: object) -> Audit:
    return parse_audit(Table(values, where="millrace.toml", path="audit"))


def test_a_time_of_day_or_off() -> None:
    """Three in the morning UTC unless it says otherwise; off is never."""
    assert parsed().at_s == 3 * 3600
    assert parsed(daily_at="23:59").at_s == 23 * 3600 + 59 * 60
    assert parsed(daily_at="off").at_s is None


@pytest.mark.parametrize("value", ["24:00", "3:00", "03:60", "03:00:00", "never", 3])
def test_anything_else_is_refused(value: object) -> None:
    """The refusal names key, value and what was expected."""
    with pytest.raises(Refusal, match=r"millrace.toml: audit.daily_at = .*expected a"):
        parsed(daily_at=value)


def test_a_stranger_key_is_refused() -> None:
    """As in every table."""
    with pytest.raises(Refusal, match=r"audit.daily is not a setting; did you mean 'daily_at'"):
        parsed(daily="03:00")
