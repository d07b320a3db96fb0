"""Instants as text (RFC 3339, UTC) and billing periods as half-open spans of instants."""

import re
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})?)?")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2261
"""The last whole year whose nanoseconds since the epoch fit 64 bits."""


class Period(NamedTuple):
    """[start, end) in nanoseconds since the epoch, named as people write it ('2026-11')."""

    name: str
    start: int
    end: int


def render_time(instant: int) -> str:
    """'2026-11-23T18:12:00.123456Z': microseconds, always UTC."""
    seconds, nanoseconds = divmod(instant, NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}Z"


def parse_time(text: str, *, param: str) -> int:
    """A date ('2026-11-23', midnight UTC) or an RFC 3339 instant with its offset, as nanoseconds."""
    shape = _TIME.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text.upper()) if shape else None
    except ValueError:
        moment = None
    if shape is None or moment is None:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{param}: {text[:40]!r} is not a date such as 2026-11-23 or a time such as 2026-11-23T08:00:00Z",
            param=param,
        )
    if shape[1] and moment.tzinfo is None:
        raise Refusal(
            Reason.INVALID_REQUEST, f"{param}: {text!r} lacks its time zone; end it with Z or +08:00", param=param
        )
    _refuse_far(moment.year, text, param)
    return _instant(moment.replace(tzinfo=moment.tzinfo or UTC))


def parse_month(text: str, *, param: str = "period") -> Period:
    """'2026-11' → the month's half-open span in UTC."""
    try:
        first = date.fromisoformat(f"{text}-01") if _MONTH.fullmatch(text) else None
    except ValueError:
        first = None
    if first is None:
        raise Refusal(
            Reason.INVALID_REQUEST, f"{param}: {text[:40]!r} is not a month such as 2026-11", param=param
        )
    _refuse_far(first.year, text, param)
    return _month(first)


def month_of(instant: int) -> Period:
    """The UTC month that an instant lies in."""
    return _month(datetime.fromtimestamp(instant // NS_PER_S, UTC).date().replace(day=1))


def day_of(instant: int) -> str:
    """The UTC day that an instant lies in, '2026-11-23'."""
    return f"{datetime.fromtimestamp(instant // NS_PER_S, UTC):%Y-%m-%d}"


def _refuse_far(year: int, text: str, param: str) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise Refusal(
            Reason.INVALID_REQUEST, f"{param}: {text!r} is too far away; use the years {FIRST_YEAR} to {LAST_YEAR}",
            param=param,
        )


def _month(first: date) -> Period:
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return Period(f"{first:%Y-%m}", _midnight(first), _midnight(following))


def _midnight(day: date) -> int:
    return _instant(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _instant(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp()) * NS_PER_S + moment.microsecond * 1000
